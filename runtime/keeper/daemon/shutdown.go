package daemon

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containercloud/cc/runtime/keeper/wire"
)

// patience is how long killed processes may take to die, before the keeper goes without them.
const patience = 10 * time.Second

// shutdown kills everything the keeper has, and waits until it is recorded.
func (k *keeper) shutdown() {
	k.mu.Lock()
	k.stopping = true
	late := false
	t := time.AfterFunc(patience, func() {
		k.mu.Lock()
		late = true
		k.fewer.Broadcast()
		k.mu.Unlock()
	})
	for {
		ending := 0
		for _, c := range k.kids {
			if c.done != nil && !c.exited {
				ending++
				unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
			}
		}
		killChildren()
		if ending+len(k.pids)+len(k.foreign) == 0 || late {
			break
		}
		k.fewer.Wait()
	}
	k.mu.Unlock()
	t.Stop()
	k.finishing.Wait()
}

// killChildren kills those that have no name here, too.
func killChildren() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, s := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(s); err == nil {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// leaveWhenIdle ends the keeper on SIGTERM when it has nothing to keep. Whoever sends it to every process, or to a service's
// control group, does not mean the containers: those end by their own signal, or by Shutdown.
func (k *keeper) leaveWhenIdle(terminate <-chan os.Signal) {
	for range terminate {
		k.mu.Lock()
		if len(k.pids)+len(k.foreign) == 0 {
			os.Exit(0)
		}
		k.mu.Unlock()
		say("SIGTERM ignored: processes are kept; shut ccd down to end them")
	}
}

// bye ends the process after its last answer; what the sockets do not take by then is lost.
func (k *keeper) bye() {
	k.mu.Lock()
	for _, c := range k.conns {
		c.flush()
	}
	wire.Close([]int{k.lock})
	os.Exit(0)
}
