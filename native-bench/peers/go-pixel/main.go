// Peer: a minimal pixel logger on Go's net/http: parse the query, make an id, encode JSON, buffer 64 KiB, append.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type event struct {
	ID    string            `json:"event_id"`
	Time  string            `json:"ts"`
	Event string            `json:"e"`
	User  string            `json:"uid,omitempty"`
	Visit string            `json:"sid,omitempty"`
	URL   string            `json:"url,omitempty"`
	Ref   string            `json:"ref,omitempty"`
	Agent string            `json:"ua,omitempty"`
	IP    string            `json:"ip,omitempty"`
	UTM   map[string]string `json:"utm"`
	Geo   struct{}          `json:"geo"`
	Props map[string]string `json:"props"`
}

func uuid4() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	path := flag.String("log", "events.ndjson", "file to append to")
	flag.Parse()
	gif, _ := base64.StdEncoding.DecodeString("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
	file, err := os.OpenFile(*path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	var mutex sync.Mutex
	out := bufio.NewWriterSize(file, 64<<10)
	flush := func() { mutex.Lock(); out.Flush(); mutex.Unlock() }
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			flush()
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; flush(); os.Exit(0) }()

	http.HandleFunc("/px.gif", func(w http.ResponseWriter, r *http.Request) {
		ev := event{ID: uuid4(), Time: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), Event: "pageview",
			URL: r.Referer(), Agent: r.UserAgent(), UTM: map[string]string{}, Props: map[string]string{}}
		for key, values := range r.URL.Query() {
			switch value := values[0]; {
			case key == "e":
				ev.Event = value
			case key == "uid":
				ev.User = value
			case key == "url":
				ev.URL = value
			case key == "ref":
				ev.Ref = value
			case strings.HasPrefix(key, "utm_"):
				ev.UTM[key[4:]] = value
			default:
				ev.Props[key] = value
			}
		}
		if sid, err := r.Cookie("sid"); err == nil {
			ev.Visit = sid.Value
		}
		ev.IP = r.RemoteAddr
		if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
			ev.IP, _, _ = strings.Cut(forwarded, ",")
		}
		line, _ := json.Marshal(&ev)
		mutex.Lock()
		out.Write(line)
		out.WriteByte('\n')
		mutex.Unlock()
		w.Header().Set("Content-Type", "image/gif")
		w.Header().Set("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0")
		w.Write(gif)
	})
	log.Fatal(http.ListenAndServe(*addr, nil))
}
