// Peer: Benthos (Redpanda Connect's engine, MIT) doing a collector's job: http_server to file with a mapping between them. It answers
// once the file output has written the line (no sync, no journal); a message that fails is answered with an error.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"strings"
	"syscall"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// Query parameters, headers and cookies all come as metadata: headers are told by their capital letter, the cookies by their names.
const config = `
http: { enabled: false }
logger: { level: ERROR }
input:
  http_server:
    address: ADDR
    path: /px.gif
    allowed_verbs: [GET]
    sync_response:
      headers: { Content-Type: image/gif, Cache-Control: "no-store, no-cache, must-revalidate, max-age=0" }
pipeline:
  processors:
    - mapping: root = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7".decode("base64")
    - sync_response: {}
    - mapping: |
        let known = ["e", "uid", "url", "ref", "sid", "_ga", "theme"]
        root.event_id = uuid_v4()
        root.ts = now().ts_format("2006-01-02T15:04:05.000Z", "UTC")
        root.e = @e | "pageview"
        root.uid = @uid | deleted()
        root.sid = @sid | deleted()
        root.url = @url | @Referer | deleted()
        root.ref = @ref | deleted()
        root.ua = @."User-Agent" | deleted()
        root.ip = @."X-Forwarded-For" | @http_server_remote_ip
        let utm = @.filter(item -> item.key.has_prefix("utm_")).map_each_key(key -> key.slice(4))
        let props = @.filter(item -> item.key >= "a" && !item.key.has_prefix("utm_") &&
          !item.key.has_prefix("http_server_") && !$known.contains(item.key))
        root.utm = if $utm.length() > 0 { $utm }
        root.props = if $props.length() > 0 { $props }
output:
  file: { path: PATH, codec: lines }
`

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address to listen on")
	path := flag.String("log", "events.ndjson", "file to append to")
	flag.Parse()
	builder := service.NewStreamBuilder()
	if err := builder.SetYAML(strings.NewReplacer("ADDR", *addr, "PATH", *path).Replace(config)); err != nil {
		log.Fatal(err)
	}
	stream, err := builder.Build()
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := stream.Run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
