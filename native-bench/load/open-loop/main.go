// A load generator with a fixed rate and no coordinated omission.
//
// Request i is due at start + i/rate, whatever the server does. A request that is due while every connection still waits
// for an answer queues, and its latency counts from when it was due: a server that stalls for 100 ms is charged for all
// that should have been sent meanwhile. (wrk is a closed loop: it sends nothing while it waits, and forgets the stall.)
//
// One goroutine, locked to its thread, raw non-blocking sockets on one epoll, spinning: no timer slack, no scheduler, no
// garbage collection (nothing is allocated once it runs). A generator on Node tops out at about half of what the servers
// here answer and adds its own pauses to the tail; wrk2 is not packaged. One request at a time per connection, as browsers
// and load balancers do.
//
// How late the generator itself was is reported beside the latency: from when a request was due until the loop came to it, to
// write it or to queue it. That is its own doing: its thread did not run, or was busy with others. Waiting in the queue for a free
// connection is not: there the server owes an answer. `served` is the latency without that lateness. Not told apart: an
// answer that lay there while the thread did not run is charged to the server, in both figures.
//
// Latencies go into logarithmic buckets (128 per power of two: < 0.8 % error), so an hour needs no more memory than a second.
// All requests that were sent are waited for, so `answered` is exact and may be compared with the lines a server wrote.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

const perOctave = 128

type histogram struct {
	counts [64 * perOctave]uint64
	total  uint64
	max    int64
}

func bucketOf(ns int64) int {
	octave := bits.Len64(uint64(ns)) - 8 // values below 256 ns have a bucket each
	if octave <= 0 {
		return int(ns)
	}
	return octave*perOctave + int(ns>>octave)
}

func lowestOf(bucket int) int64 {
	if bucket < 2*perOctave {
		return int64(bucket)
	}
	octave := bucket/perOctave - 1
	return int64(bucket-octave*perOctave) << octave
}

func (h *histogram) add(ns int64) {
	h.counts[bucketOf(ns)]++
	h.total++
	if ns > h.max {
		h.max = ns
	}
}

func (h *histogram) percentileUs(share float64) float64 {
	want, seen := uint64(share*float64(h.total)+0.999999), uint64(0)
	for bucket, count := range h.counts {
		if seen += count; seen >= want && seen > 0 {
			return float64(lowestOf(bucket)) / 1e3
		}
	}
	return 0
}

type connection struct {
	fd   int
	due  int64 // of the request that is under way
	late int64 // and how late the generator came to it
	read int
	left []byte // not yet written part of the request
	in   [16 << 10]byte
}

// A request that is due.
type waiting struct {
	due, late int64
}

type slice struct {
	Ms       int64   `json:"ms"`
	Answered uint64  `json:"answered"`
	P50Us    float64 `json:"p50Us"`
	P99Us    float64 `json:"p99Us"`
	MaxUs    float64 `json:"maxUs"`
}

type result struct {
	Sent       uint64  `json:"sent"`
	Answered   uint64  `json:"answered"`
	Refused    uint64  `json:"refused"`
	Failed     uint64  `json:"failed"`
	DurationUs float64 `json:"durationUs"`
	BacklogMax int     `json:"backlogMax"`
	Queued     uint64  `json:"queued"`    // found no free connection
	LateP50Us  float64 `json:"lateP50Us"` // the generator's own error, see above
	LateP99Us  float64 `json:"lateP99Us"`
	LateP999Us float64 `json:"lateP999Us"`
	LateMaxUs  float64 `json:"lateMaxUs"`
	ServedP50  float64 `json:"servedP50Us"`
	ServedP99  float64 `json:"servedP99Us"`
	ServedP999 float64 `json:"servedP999Us"`
	P50Us      float64 `json:"p50Us"`
	P90Us      float64 `json:"p90Us"`
	P99Us      float64 `json:"p99Us"`
	P999Us     float64 `json:"p999Us"`
	P9999Us    float64 `json:"p9999Us"`
	MaxUs      float64 `json:"maxUs"`
	Timeline   []slice `json:"timeline,omitempty"`
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func check(err error, doing string) {
	if err != nil {
		fail("%s: %v", doing, err)
	}
}

func readRequests(path string) (requests [][]byte) {
	data, err := os.ReadFile(path)
	check(err, "reading requests")
	for len(data) > 4 {
		length := binary.LittleEndian.Uint32(data)
		requests = append(requests, data[4:4+length])
		data = data[4+length:]
	}
	return
}

// The length of the answer that starts the buffer and its status, or 0 while it is incomplete.
func answer(in []byte) (length, status int) {
	head := bytes.Index(in, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, 0
	}
	if head < 12 {
		fail("not an answer: %q", in)
	}
	status = digits(in[9:12])
	body := 0
	for _, name := range [][]byte{[]byte("\r\nContent-Length: "), []byte("\r\ncontent-length: ")} {
		if at := bytes.Index(in[:head+2], name); at >= 0 {
			value := in[at+len(name):]
			body = digits(value[:bytes.IndexByte(value, '\r')])
		}
	}
	if length = head + 4 + body; length > len(in) {
		return 0, 0
	}
	return length, status
}

func digits(text []byte) (value int) {
	for _, digit := range text {
		value = value*10 + int(digit-'0')
	}
	return
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "server")
	path := flag.String("requests", "", "file of {u32 length, bytes} requests, sent in turn")
	rate := flag.Float64("rate", 1000, "requests per second")
	seconds := flag.Float64("seconds", 2, "how long")
	count := flag.Int("connections", 64, "connections, each with one request at a time")
	sliceMs := flag.Int64("timeline-ms", 0, "also report windows of this length; 0: no")
	nap := flag.Bool("nap", false, "sleep in epoll up to 1 ms when nothing is due: for low rates beside other work; costs precision")
	hold := flag.Bool("hold", false, "say \"open\" once all connections are, begin at a line on stdin, and after the result keep them open until stdin ends")
	flag.Parse()
	requests := readRequests(*path)
	target, err := net.ResolveTCPAddr("tcp4", *addr)
	check(err, "address")
	runtime.LockOSThread()
	debug.SetGCPercent(-1)

	poll, err := syscall.EpollCreate1(0)
	check(err, "epoll")
	connections := make([]connection, *count)
	var peer syscall.SockaddrInet4
	peer.Port = target.Port
	copy(peer.Addr[:], target.IP.To4())
	open := func(i int32) {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		check(err, "socket")
		check(syscall.Connect(fd, &peer), "connect")
		check(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), "nodelay")
		check(syscall.SetNonblock(fd, true), "nonblock")
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: i}
		check(syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event), "epoll_ctl")
		connections[i].fd = fd
	}
	for i := range connections {
		open(int32(i))
	}

	stdin := bufio.NewReader(os.Stdin)
	if *hold {
		fmt.Println("open")
		_, err := stdin.ReadString('\n')
		check(err, "waiting for the line to begin at")
	}

	var all, window, late, served histogram
	var out result
	start := time.Now()
	now := func() int64 { return int64(time.Since(start)) }
	interval := 1e9 / *rate
	total := uint64(*rate * *seconds)
	idle := make([]int32, 0, *count) // first in, first out: every connection gets its turn
	idleAt := 0
	for i := range connections {
		idle = append(idle, int32(i))
	}
	free := len(idle)
	ring := idle[:cap(idle)]
	backlog := make([]waiting, 0, 1<<20)
	backlogAt := 0
	turn, answered, dead := 0, uint64(0), 0
	due := uint64(0)
	windowEnd := *sliceMs * 1e6

	endWindow := func() {
		out.Timeline = append(out.Timeline, slice{windowEnd / 1e6, window.total, window.percentileUs(0.5), window.percentileUs(0.99), float64(window.max) / 1e3})
		window = histogram{}
		windowEnd += *sliceMs * 1e6
	}
	drop := func(c *connection) {
		syscall.Close(c.fd)
		c.fd = -1
		out.Failed++
		dead++
	}
	write := func(i int32) {
		c := &connections[i]
		for len(c.left) > 0 {
			n, err := syscall.Write(c.fd, c.left)
			if err == syscall.EAGAIN {
				event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT, Fd: i}
				syscall.EpollCtl(poll, syscall.EPOLL_CTL_MOD, c.fd, &event)
				return
			}
			if err != nil {
				drop(c)
				return
			}
			c.left = c.left[n:]
		}
	}
	send := func(i int32, next waiting) {
		c := &connections[i]
		c.due, c.late, c.read, c.left = next.due, next.late, 0, requests[turn]
		if turn++; turn == len(requests) {
			turn = 0
		}
		out.Sent++
		write(i)
	}

	events := make([]syscall.EpollEvent, 256)
	deadline := int64(*seconds*1e9) + 20e9
	for {
		at := now()
		looked := at
		for due < total {
			dueAt := int64(float64(due) * interval)
			if dueAt > at {
				break
			}
			next := waiting{dueAt, looked - dueAt}
			late.add(next.late)
			due++
			if free > 0 {
				i := ring[idleAt]
				idleAt = (idleAt + 1) % len(ring)
				free--
				send(i, next)
				looked = now() // writing takes its time: the next one of this turn waits for it
				continue
			}
			out.Queued++
			if backlog = append(backlog, next); len(backlog)-backlogAt > out.BacklogMax {
				out.BacklogMax = len(backlog) - backlogAt
			}
		}
		if due == total && answered+out.Failed >= out.Sent && backlogAt == len(backlog) {
			break
		}
		if at > deadline || dead == len(connections) {
			break
		}
		wait := 0
		if *nap {
			wait = 1
		}
		n, _ := syscall.EpollWait(poll, events, wait)
		for _, event := range events[:max0(n)] {
			i := event.Fd
			c := &connections[i]
			if c.fd < 0 {
				continue
			}
			if event.Events&syscall.EPOLLOUT != 0 {
				mod := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: i}
				syscall.EpollCtl(poll, syscall.EPOLL_CTL_MOD, c.fd, &mod)
				write(i)
			}
			if event.Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) == 0 {
				continue
			}
			got, err := syscall.Read(c.fd, c.in[c.read:])
			if err == syscall.EAGAIN {
				continue
			}
			if err != nil || got == 0 {
				drop(c)
				continue
			}
			c.read += got
			length, status := answer(c.in[:c.read])
			if length == 0 {
				continue
			}
			done := now()
			all.add(done - c.due)
			window.add(done - c.due)
			served.add(done - c.due - c.late)
			answered++
			if status >= 300 {
				out.Refused++
			}
			if backlogAt < len(backlog) {
				next := backlog[backlogAt]
				if backlogAt++; backlogAt == len(backlog) {
					backlog, backlogAt = backlog[:0], 0
				}
				send(i, next)
			} else {
				ring[(idleAt+free)%len(ring)] = i
				free++
			}
		}
		if *sliceMs > 0 && at >= windowEnd {
			endWindow()
		}
	}
	if *sliceMs > 0 && window.total > 0 {
		endWindow()
	}
	out.Answered, out.DurationUs = answered, float64(now())/1e3
	out.P50Us, out.P90Us, out.P99Us = all.percentileUs(0.5), all.percentileUs(0.9), all.percentileUs(0.99)
	out.P999Us, out.P9999Us, out.MaxUs = all.percentileUs(0.999), all.percentileUs(0.9999), float64(all.max)/1e3
	out.LateP50Us, out.LateP99Us, out.LateP999Us = late.percentileUs(0.5), late.percentileUs(0.99), late.percentileUs(0.999)
	out.LateMaxUs = float64(late.max) / 1e3
	out.ServedP50, out.ServedP99, out.ServedP999 = served.percentileUs(0.5), served.percentileUs(0.99), served.percentileUs(0.999)
	check(json.NewEncoder(os.Stdout).Encode(out), "result")
	if *hold {
		_, err := io.Copy(io.Discard, stdin)
		check(err, "waiting for the end of stdin")
	}
}

func max0(n int) int {
	if n < 0 {
		return 0
	}
	return n
}
