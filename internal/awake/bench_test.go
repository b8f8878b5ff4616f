//go:build linux

package awake

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkWait has a program wait for another that takes as long for its answer as one that speaks MCP does, as
// causeway expose does all the time. It says what an exchange costs this process, and how often its threads were
// put to sleep for it.
func BenchmarkWait(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(map[bool]string{false: "asleep", true: "awake"}[keep], func(b *testing.B) {
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), answererVariable+"=1")
			in, err := cmd.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			defer func() { in.Close(); _ = cmd.Wait() }()
			var k *Keeper
			if keep {
				k = Start()
				defer k.Stop()
			}
			var before, after syscall.Rusage
			took := cpuTime()
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			line := make([]byte, 64)
			for b.Loop() {
				k.Working(1)
				if _, err := in.Write(line); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(out, line); err != nil {
					b.Fatal(err)
				}
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			b.ReportMetric(float64(after.Nvcsw-before.Nvcsw)/float64(b.N), "sleeps/op")
			b.ReportMetric(float64(cpuTime()-took)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkCollect collects garbage, for which the world is stopped twice: a keeper's sleep must not hold that up.
func BenchmarkCollect(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(map[bool]string{false: "asleep", true: "awake"}[keep], func(b *testing.B) {
			var k *Keeper
			if keep {
				k = Start()
				defer k.Stop()
			}
			for b.Loop() {
				k.Working(1)
				runtime.GC()
				time.Sleep(2 * nap) // or the keeper would step aside
			}
		})
	}
}

const answererVariable = "CAUSEWAY_TEST_ANSWERER"

// answer answers what comes on the standard input, each after 50 µs of work.
func answer() {
	line := make([]byte, 64)
	for {
		if _, err := io.ReadFull(os.Stdin, line); err != nil {
			return
		}
		for began := time.Now(); time.Since(began) < 50*time.Microsecond; {
		}
		if _, err := os.Stdout.Write(line); err != nil {
			return
		}
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(answererVariable) != "" {
		answer()
		return
	}
	os.Exit(m.Run())
}
