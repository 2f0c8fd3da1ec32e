package lab

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is what figures depend on.
type machine struct {
	CPU               string `json:"cpu"`
	Cores             int    `json:"cores"`
	Go                string `json:"go"`
	PostgreSQL        string `json:"postgresql"`
	Fsync             string `json:"fsync"`
	SynchronousCommit string `json:"synchronous_commit"`
	SharedBuffers     string `json:"shared_buffers"`
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %s, PostgreSQL %s on the same machine with fsync %s, synchronous_commit %s, shared_buffers %s",
		m.Cores, m.CPU, m.Go, m.PostgreSQL, m.Fsync, m.SynchronousCommit, m.SharedBuffers)
}

func (l *lab) machine(ctx context.Context) machine {
	setting := func(name string) string {
		var v string
		if err := l.admin.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&v); err != nil {
			return "unknown"
		}
		return v
	}
	version, _, _ := strings.Cut(setting("server_version"), " ")
	return machine{
		CPU: cpu(), Cores: runtime.NumCPU(), Go: runtime.Version(), PostgreSQL: version, Fsync: setting("fsync"),
		SynchronousCommit: setting("synchronous_commit"), SharedBuffers: setting("shared_buffers"),
	}
}

func cpu() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // Linux only
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// load1 returns the load of the last minutes, empty where it is not known.
func load1() string {
	b, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if len(fields) < 3 {
		return ""
	}
	return strings.Join(fields[:3], " ")
}

// cpuSeconds returns the CPU time that this process has used.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds()
}

// watchMemory returns a function that ends the watch and returns the most memory, in MB, that the Go runtime held meanwhile.
func watchMemory() (peak func() float64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var most uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for {
			metrics.Read(samples)
			most = max(most, samples[0].Value.Uint64()-samples[1].Value.Uint64())
			select {
			case <-t.C:
			case <-stop:
				return
			}
		}
	}()
	return func() float64 {
		close(stop)
		<-done
		return float64(most) / 1e6
	}
}

// processSeconds returns the CPU time of processes, as far as it can be read.
func processSeconds(pids []int) (seconds float64) {
	const ticks = 100 // a second, on all Linux there is
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		for _, f := range fields[11:13] {
			n, _ := strconv.Atoi(f)
			seconds += float64(n) / ticks
		}
	}
	return seconds
}
