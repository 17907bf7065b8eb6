// Programs for the official Go packages against a running server.
//
//	sdk client <json|protobuf>                                 centrifuge-go, all checks
//	sdk client <json|protobuf> mixed <name> <channel> <total>  one of many clients in a channel
//	sdk client <json|protobuf> follow <name> <channel> <last>  prints what comes until that number
//	sdk client <json|protobuf> deltas <name> <channel> <last>  the same with deltas, prints whole payloads
//	sdk client <json|protobuf> rpc                             calls that a backend answers
//	sdk api                                                    gocent, all checks
//	sdk grpc <situation>                                       grpc-go, what it sees
//
// Settings come from the environment: SDK_WS_URL, SDK_API_URL, SDK_API_KEY, SDK_SECRET, SDK_GRPC, SDK_PROTO.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/centrifugal/centrifuge-go"
)

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 2 && args[0] == "client" && isFormat(args[1]):
		run(func() { clientChecks(args[1] == "protobuf") })
	case len(args) == 3 && args[0] == "client" && isFormat(args[1]) && args[2] == "rpc":
		run(func() { clientCalls(args[1] == "protobuf") })
	case len(args) == 6 && args[0] == "client" && isFormat(args[1]) && args[2] == "mixed":
		total, err := strconv.Atoi(args[5])
		must(err)
		run(func() { clientMixed(args[1] == "protobuf", args[3], args[4], total) })
	case len(args) == 6 && args[0] == "client" && isFormat(args[1]) && args[2] == "follow":
		last, err := strconv.Atoi(args[5])
		must(err)
		runWithin(5*totalLimit, func() { clientFollow(args[1] == "protobuf", args[3], args[4], last, centrifuge.DeltaTypeNone) })
	case len(args) == 6 && args[0] == "client" && isFormat(args[1]) && args[2] == "deltas":
		last, err := strconv.Atoi(args[5])
		must(err)
		run(func() { clientFollow(args[1] == "protobuf", args[3], args[4], last, centrifuge.DeltaTypeFossil) })
	case len(args) == 1 && args[0] == "api":
		run(apiChecks)
	case len(args) == 2 && args[0] == "grpc":
		run(func() { grpcObserve(args[1]) })
	default:
		fmt.Fprintln(os.Stderr, "usage: sdk client <json|protobuf> [mixed|follow <name> <channel> <number>] | sdk api | sdk grpc <situation>")
		os.Exit(2)
	}
}

func isFormat(text string) bool {
	return text == "json" || text == "protobuf"
}
