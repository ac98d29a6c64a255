// A closed loop that makes a TLS connection for each request, without session resumption, and closes it after the answer.
// (wrk cannot: it takes a connection that the server closes without saying Connection: close for an error.)
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "server")
	path := flag.String("requests", "", "file of {u32 length, bytes} requests, sent in turn")
	seconds := flag.Float64("seconds", 2, "how long")
	count := flag.Int("connections", 64, "connections under way")
	flag.Parse()
	data, err := os.ReadFile(*path)
	if err != nil || len(data) < 4 {
		panic("no requests")
	}
	var requests [][]byte
	for len(data) > 4 {
		length := binary.LittleEndian.Uint32(data)
		requests = append(requests, data[4:4+length])
		data = data[4+length:]
	}
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	var mutex sync.Mutex
	var all []float64
	var failed, refused int
	start := time.Now()
	var group sync.WaitGroup
	for w := 0; w < *count; w++ {
		group.Add(1)
		go func(turn int) {
			defer group.Done()
			for ; time.Since(start).Seconds() < *seconds; turn++ {
				begin := time.Now()
				status, err := ask(*addr, config, requests[turn%len(requests)])
				took := float64(time.Since(begin)) / 1e3
				mutex.Lock()
				if err != nil {
					failed++
				} else {
					all = append(all, took)
					if status >= 300 {
						refused++
					}
				}
				mutex.Unlock()
			}
		}(w)
	}
	group.Wait()
	duration := float64(time.Since(start)) / 1e3
	sort.Float64s(all)
	at := func(share float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return all[int(share*float64(len(all)-1))]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"answered": len(all), "failed": failed, "refused": refused,
		"durationUs": duration, "p50Us": at(0.5), "p99Us": at(0.99), "p999Us": at(0.999), "maxUs": at(1)})
}

func ask(addr string, config *tls.Config, request []byte) (int, error) {
	connection, err := tls.Dial("tcp4", addr, config)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	if _, err := connection.Write(request); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
