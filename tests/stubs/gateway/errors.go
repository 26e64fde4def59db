package main

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/text/language"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

var (
	// namedField finds the field in what is said of a value that cannot be read, or has no place.
	namedField = regexp.MustCompile(
		`^(?:parsing (?:field|list)|Could not find field) "([\w.-]+)"|invalid value for \w+ field (\w+):`)
	capital = regexp.MustCompile(`[A-Z]`)
)

// answerKey finds, in a request's context, what an error needs to know of the answer.
type answerKey struct{}

type answer struct {
	headers http.Header
	korean  bool
}

func korean(ctx context.Context) bool {
	found, _ := ctx.Value(answerKey{}).(answer)
	return found.korean
}

// prefersKorean goes by the engine's rule: of Korean and English the one that is preferred, and English by default.
func prefersKorean(r *http.Request) bool {
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return false
	}
	for _, tag := range tags {
		switch base, _ := tag.Base(); base.String() {
		case "ko":
			return true
		case "en":
			return false
		}
	}
	return false
}

// tellError answers a unary call, or a request that became none, with `google.rpc.Status`.
func tellError(
	ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error,
) {
	if answered, ok := runtime.ServerMetadataFromContext(ctx); ok {
		keep := among(toCaller)
		for name, values := range answered.TrailerMD { // where the engine tells of a call that it refused
			if kept, ok := keep(name); ok {
				w.Header()[http.CanonicalHeaderKey(kept)] = values
			}
		}
	}
	if told := status.Convert(err); reason(told) != "" {
		writeStatus(w, told, asJSON)
		return
	}
	writeStatus(w, inOurWords(korean(ctx), err), brief)
}

// tellStreamError says the same of a stream.
func tellStreamError(ctx context.Context, err error) *status.Status {
	told := inOurWords(korean(ctx), err)
	if found, ok := ctx.Value(answerKey{}).(answer); ok {
		setHeaders(found.headers, told)
	}
	return told
}

// tellNothingHere says that a path is not known, or not for this method.
func tellNothingHere(
	_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int,
) {
	told := nothingHere(prefersKorean(r))
	if code == http.StatusMethodNotAllowed {
		told = methodRefused(prefersKorean(r))
	}
	writeStatus(w, told, brief)
}

func writeStatus(w http.ResponseWriter, told *status.Status, printer runtime.HTTPBodyMarshaler) {
	setHeaders(w.Header(), told)
	w.Header().Set("Content-Type", "application/json")
	code := runtime.HTTPStatusFromCode(told.Code())
	switch { // what gRPC has no code for
	case reason(told) == "REQUEST_003":
		code = http.StatusRequestEntityTooLarge
	case reason(told) == "REQUEST_002" && told.Code() == codes.Unimplemented:
		code = http.StatusMethodNotAllowed
	}
	text, err := printer.Marshal(told.Proto())
	if err != nil {
		code, text = http.StatusInternalServerError, nil
	}
	w.WriteHeader(code)
	w.Write(text)
}

// setHeaders repeats in headers what an error says of itself.
func setHeaders(headers http.Header, told *status.Status) {
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			headers.Set("X-Error-Code", detail.Reason)
		case *errdetails.RetryInfo:
			headers.Set("Retry-After", strconv.Itoa(int(detail.RetryDelay.AsDuration()/time.Second)))
		}
	}
	if told.Code() == codes.Unauthenticated {
		headers.Set("Www-Authenticate", "Bearer")
	}
}

// inOurWords gives the engine's errors as they are, and those of grpc-gateway and gRPC in the form of the engine's.
func inOurWords(korean bool, err error) *status.Status {
	told := status.Convert(err)
	switch {
	case reason(told) != "":
		return told
	case told.Code() == codes.InvalidArgument:
		if found := namedField.FindStringSubmatch(told.Message()); found != nil {
			inJSON := strings.ToLower(capital.ReplaceAllString(found[2], "_$0")) // as the proto files have it
			return malformedField(korean, found[1]+inJSON, told.Message())
		}
		return malformed(korean, told.Message())
	case told.Code() == codes.Unavailable:
		return with(codes.Unavailable,
			either(korean, "현재 서비스를 이용할 수 없습니다. 다시 시도해 주세요", "The service is not available at the moment; try again"),
			info("SERVER_002", nil), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	case told.Code() == codes.DeadlineExceeded:
		return with(codes.DeadlineExceeded,
			either(korean, "호출이 허용된 시간보다 오래 걸렸습니다", "The call took longer than allowed"), info("SERVER_003", nil))
	}
	return with(codes.Internal, either(korean, "내부 오류가 발생했습니다", "Internal error"), info("SERVER_001", nil))
}

func malformed(korean bool, words string, more ...protoadapt.MessageV1) *status.Status {
	details := append([]protoadapt.MessageV1{info("REQUEST_001", nil)}, more...)
	return with(codes.InvalidArgument, either(korean, "잘못된 요청입니다: ", "Malformed request: ")+words, details...)
}

func malformedField(korean bool, field, words string) *status.Status {
	violation := &errdetails.BadRequest_FieldViolation{Field: field, Description: words}
	violations := []*errdetails.BadRequest_FieldViolation{violation}
	return malformed(korean, words, &errdetails.BadRequest{FieldViolations: violations})
}

func nothingHere(korean bool) *status.Status {
	return with(codes.NotFound,
		either(korean, "이 경로 또는 메서드에 해당하는 리소스가 없습니다", "There is nothing at this path, or not for this method"),
		info("REQUEST_002", nil))
}

func methodRefused(korean bool) *status.Status {
	return with(codes.Unimplemented,
		either(korean, "이 경로에서 사용할 수 없는 메서드입니다", "This path has other methods"), info("REQUEST_002", nil))
}

func bodyTooLarge(korean bool) *status.Status {
	limit := strconv.Itoa(requestBytesMax)
	return with(codes.OutOfRange,
		either(korean, "메시지가 "+limit+"바이트보다 큽니다", "The message is larger than "+limit+" bytes"),
		info("REQUEST_003", map[string]string{"limit": limit}))
}

func either(korean bool, inKorean, inEnglish string) string {
	if korean {
		return inKorean
	}
	return inEnglish
}

func info(reason string, more map[string]string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "entasis", Metadata: more}
}

func with(code codes.Code, message string, details ...protoadapt.MessageV1) *status.Status {
	told, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		return status.New(code, message)
	}
	return told
}

// reason gives an error's code, such as `MARKET_001`; empty where it has none.
func reason(told *status.Status) string {
	for _, detail := range told.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}
