//go:build !linux

package awake

import "time"

const canNap = false

func sleep(time.Duration) {}

func cpuTime() time.Duration { return 0 }
