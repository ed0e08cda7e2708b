package exec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"netlab-runner/internal/exec"
)

// shortEnv makes the test binary look, with hardly a file that it may still open, for the job shortJob and for the run in that directory.
const (
	shortEnv = "EXEC_TEST_SHORT"
	shortJob = "job-of-short"
)

// fewFiles leaves this process n files that it may open.
func fewFiles(n uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull) // the lowest number that is free, once Go's own are open
	if err != nil {
		return err
	}
	limit.Cur = uint64(null.Fd()) + n
	return errors.Join(null.Close(), unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

func lookAndPrint(dir string) int {
	if err := fewFiles(1); err != nil {
		fmt.Println(err)
		return 1
	}
	if p, err := exec.Attach(dir, shortJob); err == nil {
		select {
		case <-p.Done():
			fmt.Println("it is said to be gone")
			return 1
		default:
			p.Release()
		}
	}
	if err := fewFiles(2); err != nil {
		fmt.Println(err)
		return 1
	}
	stop := make(chan struct{})
	var taking sync.WaitGroup
	taking.Go(func() { // as the connections of others do
		for {
			select {
			case <-stop:
				return
			default:
			}
			var held []int
			for {
				fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				held = append(held, fd)
			}
			for _, fd := range held {
				_ = unix.Close(fd)
			}
		}
	})
	wrong := 0
	for range 300 {
		if lives, err := exec.Lives(shortJob); err == nil && !lives {
			wrong++
		}
		if found, err := exec.Jobs(); err == nil && len(found) == 0 {
			wrong++
		}
	}
	close(stop)
	taking.Wait()
	if wrong > 0 {
		fmt.Println("it was not seen", wrong, "times")
		return 1
	}
	return 0
}

// A program that may open no more files does not take a run for gone that it cannot look at.
func TestARunThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	sleep := osexec.Command("sleep", "600")
	sleep.Env = []string{"RUNNER_JOB=" + shortJob}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	})
	dir := t.TempDir()
	fence, err := json.Marshal(map[string]any{
		"pid": sleep.Process.Pid, "start": startOf(t, sleep.Process.Pid), "boot": bootOf(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "driver.json"), string(fence))
	looking := osexec.CommandContext(testContext(t), os.Args[0])
	looking.Env = append(os.Environ(), shortEnv+"="+dir)
	if out, err := looking.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A number that no process can have is damage: nobody waits for it to pass.
func TestAFenceOfNoProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "driver.json"), `{"pid":`+strconv.Itoa(1<<31)+`,"start":1,"boot":"`+bootOf(t)+`"}`)
	if _, err := exec.Attach(dir, ""); !errors.Is(err, exec.ErrUnreadable) {
		t.Error(err)
	}
}
