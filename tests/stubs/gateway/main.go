// Gateway serves the REST API by the generated handlers of grpc-gateway, in place of Envoy and in front of the same
// engine:
//
//	gateway -engine unix:entasis-data/engine.sock -port 8081
//
// It listens on loopback alone, prints its address, and ends on SIGINT or SIGTERM. Like Envoy it is a part of the
// engine: it says which address a caller has and what the path and the body were, and the engine believes that on its
// unix socket only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	accessv1 "entasis/gen/go/entasis/access/v1"
	analysisv1 "entasis/gen/go/entasis/analysis/v1"
	marketv1 "entasis/gen/go/entasis/market/v1"
	portfoliov1 "entasis/gen/go/entasis/portfolio/v1"
	webv1 "entasis/gen/go/entasis/web/v1"
)

const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second
	drainTimeout   = 3 * time.Second
)

// What the engine is told of a request, and what a caller is told of an answer: all other headers stay behind.
var (
	toEngine = []string{
		"accept-encoding", "accept-language", "if-none-match", "idempotency-key", "x-api-key",
		clientAddress, originalPath, bodyFields,
	}
	toCaller = []string{
		"cache-control", "content-encoding", "content-security-policy", "etag", "idempotency-replayed",
		"referrer-policy", "retry-after", "vary", "www-authenticate", "x-content-type-options", "x-error-code",
		"x-frame-options", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id",
	}
)

func main() {
	engine := flag.String("engine", "unix:entasis-data/engine.sock", "the engine's socket")
	port := flag.Int("port", 0, "port on loopback; 0 takes a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *engine, *port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, engine string, port int) error {
	connection, err := grpc.NewClient(engine,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(strictUnary),
		grpc.WithStreamInterceptor(strictStream),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	handler, err := newHandler(ctx, connection)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		<-ctx.Done()
		drained, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if server.Shutdown(drained) != nil {
			server.Close() // streams never end by themselves
		}
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newHandler(ctx context.Context, connection *grpc.ClientConn) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newLines),
		runtime.WithMarshalerOption("text/event-stream", newEvents),
		runtime.WithIncomingHeaderMatcher(among(toEngine)),
		runtime.WithOutgoingHeaderMatcher(among(toCaller)),
		runtime.SetQueryParameterParser(&lenient{}),
		runtime.WithForwardResponseOption(setStatus),
		runtime.WithErrorHandler(tellError),
		runtime.WithStreamErrorHandler(tellStreamError),
		runtime.WithRoutingErrorHandler(tellNothingHere),
		runtime.WithDisablePathLengthFallback(), // a POST is a POST
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		accessv1.RegisterAccessServiceHandler,
		analysisv1.RegisterAnalysisServiceHandler,
		marketv1.RegisterMarketServiceHandler,
		portfoliov1.RegisterPortfolioServiceHandler,
		webv1.RegisterWebServiceHandler,
	} {
		if err := register(ctx, mux, connection); err != nil {
			return nil, err
		}
	}
	return asPart(mux), nil
}

func among(names []string) runtime.HeaderMatcherFunc {
	return func(name string) (string, bool) {
		name = strings.ToLower(name)
		return name, slices.Contains(names, name)
	}
}

// setStatus answers with the status that gRPC has no word for, such as 201, where the engine names one.
func setStatus(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	answered, _ := runtime.ServerMetadataFromContext(ctx)
	for _, code := range answered.HeaderMD.Get("x-http-code") {
		if number, err := strconv.Atoi(code); err == nil {
			w.WriteHeader(number)
		}
	}
	return nil
}
