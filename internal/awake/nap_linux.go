package awake

import (
	"syscall"
	"time"
	"unsafe"
)

const canNap = true

// sleep sleeps in the kernel, unknown to the runtime, until the time is over or a signal comes. The runtime sends
// one when it wants the world to stop, as for a collection, which need not wait for us.
func sleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// cpuTime is what the process has had of the CPUs.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
