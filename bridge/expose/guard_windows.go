package expose

import "os/exec"

// Jobs end by themselves with the process that holds them; see group.
func detach(*exec.Cmd) {}

func guarded(int, string) *group { return new(group) }
