// Models a power cut for one process and one ext4 file system: SIGKILL, and at once EXT4_IOC_SHUTDOWN with NOLOGFLUSH, as
// xfstests does it. From that moment nothing more reaches the device, and what was only in the page cache is gone once it
// is mounted again. Usage, as root: cut-power <mount point> <pid>
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	shutdown   = 0x8004587d // _IOR('X', 125, __u32)
	noLogFlush = uint32(2)  // EXT4_GOING_FLAGS_NOLOGFLUSH
)

func main() {
	folder, err := os.Open(os.Args[1])
	pid, _ := strconv.Atoi(os.Args[2])
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err == nil {
		flags := noLogFlush
		if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, folder.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); code != 0 {
			err = code
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cut-power:", err)
		os.Exit(1)
	}
}
