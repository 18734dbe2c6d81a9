// Command consumer follows a relay and prints a line an event. It goes on where it ended:
//
//	go run ./examples/consumer ws://localhost:2470 cursor.txt
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/gorilla/websocket"
)

func main() {
	for ; ; time.Sleep(time.Second) {
		cursor, _ := os.ReadFile(os.Args[2]) // none: 0, from the first event
		err := follow(os.Args[1]+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0"+strings.TrimSpace(string(cursor)), os.Args[2])
		fmt.Fprintln(os.Stderr, err)
	}
}

func follow(url, file string) error {
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	for err == nil {
		var frame, body []byte
		if _, frame, err = conn.ReadMessage(); err != nil {
			break
		}
		var head struct{ T string }
		var event struct {
			Seq               uint64
			Did, Repo, Active any
		}
		if body, err = cbor.UnmarshalFirst(frame, &head); err == nil {
			err = cbor.Unmarshal(body, &event)
		}
		if err == nil && event.Seq > 0 { // what is done with the event comes before its cursor
			fmt.Println(event.Seq, head.T, event.Did, event.Repo, event.Active)
			err = os.WriteFile(file, fmt.Append(nil, event.Seq), 0o600)
		}
	}
	return err
}
