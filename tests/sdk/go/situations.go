package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

const mib = 1 << 20

// What grpc-go sees of a stream, situation by situation; the same are in tests/sdk/python/grpc_conformance.py, and
// docs/grpc.md has the table of both.
var situations = map[string]func() string{
	"cancellation":        cancellation,
	"half_close":          halfClose,
	"deadline":            deadline,
	"metadata":            largeMetadata,
	"large_message":       largeMessage,
	"own_limit":           ownLimit,
	"too_large":           tooLarge,
	"malformed":           malformed,
	"unknown_compression": unknownCompression,
	"compressed_request":  compressedRequest,
	"compressed_response": compressedResponse,
	"stopped_reader":      stoppedReader,
	"paused_reader":       pausedReader,
	"old_connection":      oldConnection,
	"many_streams":        manyStreams,
	"pings_of_the_client": pingsOfTheClient,
	"pings_of_the_server": pingsOfTheServer,
	"health":              health,
	"reflection":          reflection,
	"refusal":             refusal,
	"unknown_method":      unknownMethod,
}

func cancellation() string {
	channel, shared := unique("open"), connection()
	watcher, other := joined(connection(), "watcher", channel), user(shared, "other")
	leaver := joined(shared, "leaver", channel)
	leaver.cancel()
	leavesOnce(watcher, channel, leaver.client)
	other.goesOn()
	return leaver.ends()
}

func halfClose() string {
	channel := unique("open")
	s := openStream(context.Background(), connection())
	s.begin("connect", object{"token": token(object{"sub": "alice"})})
	s.begin("subscribe", object{"channel": channel})
	for range 50 {
		s.begin("publish", object{"channel": channel, "data": []byte("{}")})
	}
	must(s.CloseSend())
	ended := s.ends()
	for index, id := range s.replies {
		equal(id, float64(index+1))
	}
	return fmt.Sprintf("%s after %d replies", ended, len(s.replies))
}

func deadline() string {
	channel, shared := unique("open"), connection()
	watcher, other := joined(connection(), "watcher", channel), user(shared, "other")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	late := openStream(ctx, shared)
	must(late.connect("late"))
	_, err := late.ask("subscribe", object{"channel": channel})
	must(err)
	ended := late.ends()
	leavesOnce(watcher, channel, late.client)
	other.goesOn()
	return ended
}

func largeMetadata() string {
	shared := connection()
	other := user(shared, "other")
	with := func(size int) *stream {
		headers := metadata.Pairs("x-large", strings.Repeat("x", size))
		return openStream(metadata.NewOutgoingContext(context.Background(), headers), shared)
	}
	must(with(10_000).connect("fits"))
	ended := with(20_000).ends()
	other.goesOn()
	return ended
}

func largeMessage() string {
	channel := unique("open")
	limit := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8 * mib))
	s := joined(connection(limit), "alice", channel)
	data := document(4 * mib)
	_, err := s.ask("publish", object{"channel": channel, "data": data})
	must(err)
	equal(bytes.Equal(next[pub](s.events).data, data), true)
	return "echoed"
}

func ownLimit() string {
	channel, shared := unique("open"), connection()
	other, s := user(shared, "other"), joined(shared, "alice", channel)
	api("publish", object{"channel": channel, "data": string(document(5 * mib))})
	ended := s.ends()
	other.goesOn()
	return ended
}

// raw is how a stream ends that has sent one message, beside a good stream.
func raw(message any, options ...grpc.CallOption) string {
	shared := connection()
	other := user(shared, "other")
	s := openStream(context.Background(), shared, options...)
	s.write(message)
	ended := s.ends()
	equal(len(s.replies), 0)
	other.goesOn()
	return ended
}

func tooLarge() string {
	return raw(command(object{"id": 1, "rpc": object{"data": document(4 * mib)}}))
}

// unencoded gives bytes to the connection as they are.
type unencoded struct{}

func (unencoded) Marshal(value any) ([]byte, error) { return value.([]byte), nil }
func (unencoded) Unmarshal([]byte, any) error       { return nil }
func (unencoded) Name() string                      { return "proto" }

func malformed() string {
	return raw([]byte("\x08\x01\x22\xff\xff"), grpc.ForceCodec(unencoded{}))
}

// private is a compression that nobody else knows.
type private struct{}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

func (private) Compress(to io.Writer) (io.WriteCloser, error) { return unclosed{to}, nil }
func (private) Decompress(from io.Reader) (io.Reader, error)  { return from, nil }
func (private) Name() string                                  { return "private" }

func unknownCompression() string {
	encoding.RegisterCompressor(private{})
	return raw(command(object{"id": 1, "connect": object{}}), grpc.UseCompressor("private"))
}

func compressedRequest() string {
	channel := unique("open")
	s := joined(connection(), "alice", channel, grpc.UseCompressor(gzip.Name))
	must(s.publish(channel, strings.Repeat("x", 50_000)))
	equal(len(next[pub](s.events).data), 50_002)
	return gzip.Name
}

// sizes adds up what arrives.
type sizes struct{ compressed, full atomic.Int64 }

func (*sizes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*sizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*sizes) HandleConn(context.Context, stats.ConnStats)                       {}
func (s *sizes) HandleRPC(_ context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		s.compressed.Add(int64(payload.CompressedLength))
		s.full.Add(int64(payload.Length))
	}
}

func compressedResponse() string {
	channel, seen := unique("open"), &sizes{}
	s := joined(connection(grpc.WithStatsHandler(seen)), "alice", channel)
	api("publish", object{"channel": channel, "data": strings.Repeat("x", 500_000)})
	equal(len(next[pub](s.events).data), 500_002)
	if compressed, full := seen.compressed.Load(), seen.full.Load(); compressed > full/10 {
		panic(fmt.Errorf("%d bytes for %d", compressed, full))
	}
	return gzip.Name
}

type numbered struct {
	N int    `json:"n"`
	X string `json:"x"`
}

func numberOf(p pub) int {
	var value numbered
	must(json.Unmarshal(p.data, &value))
	return value.N
}

func stoppedReader() string {
	const total = 400
	channel, shared := unique("open"), connection()
	reader, other := joined(shared, "reader", channel), joined(shared, "other", channel)
	reader.flowing.Lock()
	for n := range total {
		api("publish", object{"channel": channel, "data": numbered{n, strings.Repeat("x", 50_000)}})
		equal(numberOf(next[pub](other.events)), n)
	}
	reader.flowing.Unlock()
	ended := reader.ends()
	other.goesOn()
	return ended
}

func pausedReader() string {
	const total = 200
	channel := unique("open")
	reader := joined(connection(), "reader", channel)
	reader.flowing.Lock()
	for n := range total {
		api("publish", object{"channel": channel, "data": numbered{n, strings.Repeat("x", 20_000)}})
	}
	equal(count[pub](reader.events) <= 1, true)
	reader.flowing.Unlock()
	for n := range total {
		equal(numberOf(next[pub](reader.events)), n)
	}
	return "everything, in order"
}

func oldConnection() string {
	const total = 400
	channel, shared := unique("open"), connection()
	var seen []int
	var ended []string
	var offset float64
	var epoch string
	take := func(p pub) { seen, offset = append(seen, numberOf(p)), p.offset }
	publish := sync.OnceFunc(func() {
		go func() {
			for n := range total {
				api("publish", object{"channel": channel, "data": numbered{N: n}})
				time.Sleep(10 * time.Millisecond)
			}
		}()
	})
	for len(seen) < total {
		s := openStream(context.Background(), shared)
		err := s.connect("alice")
		request := object{"channel": channel}
		if epoch != "" {
			request = object{"channel": channel, "recover": true, "offset": offset, "epoch": epoch}
		}
		var result object
		if err == nil {
			result, err = s.ask("subscribe", request)
		}
		if err == nil {
			equal(result["recovered"] == true, epoch != "")
			missed, _ := result["publications"].([]any)
			for _, body := range missed {
				take(publication(channel, body.(object)))
			}
			epoch = result["epoch"].(string)
			publish()
		}
		for len(seen) < total {
			event := next(s.events, func(event any) bool { return true })
			if p, ok := event.(pub); ok {
				take(p)
			} else if e, ok := event.(end); ok {
				ended = append(ended, e.String())
				break
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	for n := range total {
		equal(seen[n], n)
	}
	equal(len(seen), total)
	equal(len(ended) >= 2, true)
	slices.Sort(ended)
	return strings.Join(slices.Compact(ended), " or ") + "; nothing lost"
}

func manyStreams() string {
	const total = 500
	channel, shared := unique("quiet"), connection()
	streams := make([]*stream, total)
	var opening sync.WaitGroup
	for n := range streams {
		opening.Go(func() { streams[n] = joined(shared, fmt.Sprintf("user-%d", n), channel) })
	}
	opening.Wait()
	api("publish", object{"channel": channel, "data": numbered{N: 1}})
	for _, s := range streams {
		equal(numberOf(next[pub](s.events)), 1)
	}
	return "all served"
}

func pingsOfTheClient() string {
	// Ten seconds are the least this library allows.
	often := keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}
	s := user(connection(grpc.WithKeepaliveParams(often)), "alice")
	time.Sleep(25 * time.Second)
	s.goesOn()
	return "no ENHANCE_YOUR_CALM"
}

func pingsOfTheServer() string {
	// Every second, and gone after another.
	s := user(connection(), "alice")
	time.Sleep(5 * time.Second)
	s.goesOn()
	return "answered"
}

func health() string {
	client := grpc_health_v1.NewHealthClient(connection())
	ctx := context.Background()
	for _, service := range []string{"", "proto.Centrifuge"} {
		answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		must(err)
		equal(answer.GetStatus(), grpc_health_v1.HealthCheckResponse_SERVING)
	}
	watching, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	must(err)
	answer, err := watching.Recv()
	must(err)
	equal(answer.GetStatus(), grpc_health_v1.HealthCheckResponse_SERVING)
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "nobody"})
	return "SERVING; " + code.Code(status.Code(err)).String() + " for others"
}

func reflection() string {
	stream, err := grpc_reflection_v1.NewServerReflectionClient(connection()).ServerReflectionInfo(context.Background())
	must(err)
	symbol := &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "proto.Centrifuge"}
	must(stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: symbol}))
	answer, err := stream.Recv()
	must(err)
	var file descriptorpb.FileDescriptorProto
	must(proto.Unmarshal(answer.GetFileDescriptorResponse().GetFileDescriptorProto()[0], &file))
	equal(file.GetService()[0].GetMethod()[0].GetName(), "Communicate")
	return "v1"
}

func refusal() string {
	shared := connection()
	other := user(shared, "other")
	headers := metadata.Pairs("authorization", "Bearer x")
	ended := openStream(metadata.NewOutgoingContext(context.Background(), headers), shared).ends()
	other.goesOn()
	return ended
}

func unknownMethod() string {
	err := connection().Invoke(context.Background(), "/proto.Centrifuge/Dance", &emptypb.Empty{}, &emptypb.Empty{})
	return code.Code(status.Code(err)).String()
}
