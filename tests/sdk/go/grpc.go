package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// A client of the gRPC stream on grpc-go. The schema (SDK_PROTO) is compiled when the program starts, and messages are
// written and read as JSON, so that nothing generated is kept here.

const communicate = "/proto.Centrifuge/Communicate"

type (
	pub struct {
		channel string
		data    []byte
		offset  float64
	}
	leave struct{ client string }
	end   struct {
		status string
		code   int
	}
)

// String says how a stream ended, as the table does.
func (e end) String() string {
	if e.code == 0 {
		return e.status
	}
	return fmt.Sprintf("%s, %d", e.status, e.code)
}

var schema = sync.OnceValue(func() protoreflect.FileDescriptor {
	file := setting("SDK_PROTO")
	sources := &protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(file)}}
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(sources)}
	files, err := compiler.Compile(context.Background(), filepath.Base(file))
	must(err)
	return files[0]
})

func newMessage(name protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(schema().Messages().ByName(name))
}

func command(content object) *dynamicpb.Message {
	raw, err := json.Marshal(content)
	must(err)
	message := newMessage("Command")
	must(protojson.Unmarshal(raw, message))
	return message
}

// connection is an HTTP/2 connection of its own.
func connection(options ...grpc.DialOption) *grpc.ClientConn {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("passthrough:///"+setting("SDK_GRPC"), options...)
	must(err)
	return conn
}

// stream is one client.
type stream struct {
	grpc.ClientStream
	cancel  context.CancelFunc
	events  *events
	writing sync.Mutex
	mu      sync.Mutex
	waiting map[float64]chan object
	replies []float64
	lastID  float64
	client  string
	pong    bool
	ended   bool
	flowing sync.Mutex // nothing is read while somebody holds it
}

func openStream(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) *stream {
	ctx, cancel := context.WithCancel(ctx)
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	s := &stream{cancel: cancel, events: newEvents(), waiting: map[float64]chan object{}}
	call, err := conn.NewStream(ctx, description, communicate, options...)
	if err != nil {
		s.over(err)
		return s
	}
	s.ClientStream = call
	go s.read()
	return s
}

func user(conn *grpc.ClientConn, name string, options ...grpc.CallOption) *stream {
	s := openStream(context.Background(), conn, options...)
	must(s.connect(name))
	return s
}

func joined(conn *grpc.ClientConn, name, channel string, options ...grpc.CallOption) *stream {
	s := user(conn, name, options...)
	_, err := s.ask("subscribe", object{"channel": channel})
	must(err)
	return s
}

func (s *stream) connect(name string) error {
	result, err := s.ask("connect", object{"token": token(object{"sub": name})})
	if err == nil {
		s.client, s.pong = result["client"].(string), result["pong"] == true
	}
	return err
}

// write sends a command; a stream that has ended takes none, and its end tells why.
func (s *stream) write(message any) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.ClientStream != nil {
		_ = s.SendMsg(message)
	}
}

var errEnded = errors.New("the stream has ended")

// ask sends one command and waits for its reply.
func (s *stream) ask(kind string, request object) (object, error) {
	answer := s.begin(kind, request)
	reply, open := <-answer
	if !open {
		return nil, errEnded
	}
	if reply["error"] != nil {
		return nil, fmt.Errorf("%s: %v", kind, reply["error"])
	}
	result, _ := reply[kind].(object)
	return result, nil
}

func (s *stream) begin(kind string, request object) chan object {
	answer := make(chan object, 1)
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	if s.ended {
		close(answer)
	} else {
		s.waiting[id] = answer
	}
	s.mu.Unlock()
	s.write(command(object{"id": id, kind: request}))
	return answer
}

func (s *stream) read() {
	for {
		reply := newMessage("Reply")
		if err := s.RecvMsg(reply); err != nil {
			s.over(err)
			return
		}
		raw, err := protojson.Marshal(reply)
		must(err)
		var content object
		must(json.Unmarshal(raw, &content))
		s.take(content)
		s.flowing.Lock()
		s.flowing.Unlock() //nolint:staticcheck // only waits
	}
}

func (s *stream) take(reply object) {
	if id, ok := reply["id"].(float64); ok {
		s.mu.Lock()
		answer := s.waiting[id]
		delete(s.waiting, id)
		s.replies = append(s.replies, id)
		s.mu.Unlock()
		answer <- reply
	} else if push, ok := reply["push"].(object); ok {
		if body, ok := push["pub"].(object); ok {
			s.events.add(publication(push["channel"], body))
		} else if body, ok := push["leave"].(object); ok {
			s.events.add(leave{body["info"].(object)["client"].(string)})
		}
	} else if s.pong {
		s.write(command(object{}))
	}
}

func publication(channel any, body object) pub {
	var data []byte
	raw, err := json.Marshal(body["data"])
	must(err)
	must(json.Unmarshal(raw, &data))
	var offset float64
	if text, ok := body["offset"].(string); ok {
		_, err := fmt.Sscan(text, &offset)
		must(err)
	}
	name, _ := channel.(string)
	return pub{name, data, offset}
}

func (s *stream) over(err error) {
	ending := end{status: code.Code_OK.String()}
	if !errors.Is(err, io.EOF) {
		ending.status = code.Code(status.Code(err)).String()
	}
	if s.ClientStream != nil {
		for _, trailer := range s.Trailer()["disconnect"] {
			var told struct{ Code int }
			must(json.Unmarshal([]byte(trailer), &told))
			ending.code = told.Code
		}
	}
	s.mu.Lock()
	s.ended = true
	for _, answer := range s.waiting {
		close(answer)
	}
	clear(s.waiting)
	s.mu.Unlock()
	s.events.add(ending)
}

func (s *stream) publish(channel string, value any) error {
	raw, err := json.Marshal(value)
	must(err)
	_, err = s.ask("publish", object{"channel": channel, "data": raw})
	return err
}

// goesOn shows that a stream has not noticed what happened beside it.
func (s *stream) goesOn() {
	channel := unique("open")
	_, err := s.ask("subscribe", object{"channel": channel})
	must(err)
	must(s.publish(channel, "still there"))
	next(s.events, func(p pub) bool { return p.channel == channel })
}

func (s *stream) ends() string {
	return next[end](s.events).String()
}

func leavesOnce(watcher *stream, channel, client string) {
	equal(next[leave](watcher.events).client, client)
	// What follows by order: a second leave would be before it.
	must(watcher.publish(channel, "fence"))
	next[pub](watcher.events)
	equal(count[leave](watcher.events), 0)
}

// document is a JSON text of so many bytes that does not repeat itself.
func document(size int) []byte {
	var text strings.Builder
	for n := 0; text.Len() < size; n++ {
		fmt.Fprintf(&text, "%07x", n)
	}
	return []byte(`"` + text.String()[:size-2] + `"`)
}

// grpcObserve runs one situation and prints what this library sees of it.
func grpcObserve(name string) {
	situation, ok := situations[name]
	if !ok {
		names := make([]string, 0, len(situations))
		for name := range situations {
			names = append(names, name)
		}
		slices.Sort(names)
		fail(name, "situations are "+strings.Join(names, ", "))
	}
	observed := ""
	checkWithin(50*time.Second, name, func() { observed = situation() })
	fmt.Println("observed:", observed)
}
