package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// By these names a part of the engine tells it of a request. A caller's own headers of the same names are replaced.
const (
	clientAddress = "x-client-ip"
	originalPath  = "x-envoy-original-path"
	bodyFields    = "x-envoy-body-fields"
)

const (
	requestBytesMax   = 65536
	namesMax          = 64
	wordsNotJSON      = "the body is not a JSON object, or has null or a list in a list"
	wordsGetBody      = "a GET has no body"
	wordsNotUTF8      = "the path or the query is not UTF-8"
	wordsBodyTooShort = "the body did not arrive"
)

var (
	plainName = regexp.MustCompile(`^\w{1,64}$`)
	date      = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	minutes   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\dZ?$`)
	noZone    = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*)?$`)
)

// asPart checks what grpc-gateway does not, and tells the engine what it cannot see from where it is.
func asPart(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		korean := prefersKorean(r)
		r = r.WithContext(context.WithValue(r.Context(), answerKey{}, answer{w.Header(), korean}))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestBytesMax))
		switch tooLarge := new(http.MaxBytesError); {
		case errors.As(err, &tooLarge):
			writeStatus(w, bodyTooLarge(korean), brief)
			return
		case err != nil:
			writeStatus(w, malformed(korean, wordsBodyTooShort), brief)
			return
		case r.Method == http.MethodGet && len(body) > 0:
			writeStatus(w, malformed(korean, wordsGetBody), brief)
			return
		case !utf8.ValidString(r.URL.Path) || !utf8.ValidString(unescaped(r.URL.RawQuery)):
			writeStatus(w, malformed(korean, wordsNotUTF8), brief)
			return
		}
		if strings.Contains(strings.ToLower(r.URL.RawPath), "%2f") {
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.URL.Path, r.URL.RawPath = path.Clean(r.URL.Path), ""
		r.URL.RawQuery = withTimesCompleted(r.URL.RawQuery)

		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		r.Header.Set(clientAddress, address)
		r.Header.Set(originalPath, r.URL.RequestURI())
		r.Header.Del(bodyFields)
		if names := namesIn(body); len(names) > 0 {
			r.Header.Set(bodyFields, strings.Join(names, ","))
		}
		next.ServeHTTP(w, r)
	})
}

// namesIn gives the names in a JSON object, outermost level only, in their order: protojson refuses one that comes
// twice and leaves out those that it does not know, so the engine is told of them.
func namesIn(body []byte) (names []string) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil
	}
	for decoder.More() && len(names) < namesMax {
		token, err := decoder.Token()
		if err != nil {
			return names
		}
		name, ok := token.(string)
		if !ok || !plainName.MatchString(name) {
			name = "?"
		}
		names = append(names, name)
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return names
		}
	}
	return names
}

// withTimesCompleted completes times as people write them: ISO 8601 leaves the time of day, the seconds and the zone out
// where they are plain.
func withTimesCompleted(query string) string {
	parameters := strings.Split(query, "&")
	for place, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		if name == "start" || name == "end" {
			parameters[place] = name + "=" + completed(value)
		}
	}
	return strings.Join(parameters, "&")
}

func completed(value string) string {
	time := unescaped(value)
	switch {
	case date.MatchString(time):
		return url.QueryEscape(time + "T00:00:00Z")
	case minutes.MatchString(time):
		return url.QueryEscape(strings.TrimSuffix(time, "Z") + ":00Z")
	case noZone.MatchString(time):
		return url.QueryEscape(time + "Z")
	}
	return value
}

func unescaped(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// lenient reads a query as Envoy does where a field that holds one value is given more than once: the last is taken, and
// the engine, which sees the query too, refuses different ones.
type lenient struct{ runtime.DefaultQueryParser }

func (p *lenient) Parse(message proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	fields := message.ProtoReflect().Descriptor().Fields()
	taken := url.Values{}
	for name, given := range values {
		field := fields.ByTextName(name)
		if field == nil {
			field = fields.ByJSONName(name)
		}
		switch {
		case field == nil:
			taken[name] = given
		case field.IsMap():
			return fmt.Errorf("parsing field %q: a query cannot express a map", name)
		case field.IsList():
			taken[field.TextName()] = append(taken[field.TextName()], given...)
		default:
			taken[field.TextName()] = given[len(given)-1:]
		}
	}
	return p.DefaultQueryParser.Parse(message, taken, filter)
}

// Parameters that a call does not have are refused: grpc-gateway would pass over them, so that a misspelt one would be
// as if it had not been given.

func strictUnary(
	ctx context.Context, method string, request, response any, connection *grpc.ClientConn,
	call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if err := checkQuery(ctx, method); err != nil {
		return err
	}
	return call(ctx, method, request, response, connection, options...)
}

func strictStream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if err := checkQuery(ctx, method); err != nil {
		return nil, err
	}
	return open(ctx, description, connection, method, options...)
}

func checkQuery(ctx context.Context, method string) error {
	told, _ := metadata.FromOutgoingContext(ctx)
	paths := told.Get(originalPath)
	if len(paths) == 0 {
		return nil
	}
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return err
	}
	message := found.(protoreflect.MethodDescriptor).Input()
	_, query, _ := strings.Cut(paths[0], "?")
	for parameter := range strings.SplitSeq(query, "&") {
		given, _, _ := strings.Cut(parameter, "=")
		outermost, _, _ := strings.Cut(unescaped(given), ".")
		known := message.Fields().ByTextName(outermost) != nil || message.Fields().ByJSONName(outermost) != nil
		if outermost != "" && !known {
			return status.Errorf(codes.InvalidArgument, "Could not find field %q in the type %q.", outermost, message.FullName())
		}
	}
	return nil
}
