package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// asJSON prints as Envoy does: names as in the proto files, default values too, and nothing for messages that are not
// set. What a request has too many is for the engine to refuse, which is told of it.
var asJSON = runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
	MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
	UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
}}

// brief leaves default values out: so Envoy prints the errors that it makes by itself.
var brief = runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
	MarshalOptions: protojson.MarshalOptions{UseProtoNames: true},
}}

var (
	newLines  = &marshaler{asJSON, "application/x-ndjson", "", "\n"}
	newEvents = &marshaler{asJSON, "text/event-stream", "data: ", "\n\n"}
)

// marshaler prints single answers as JSON, and those of a stream one by one, between a beginning and an end.
type marshaler struct {
	runtime.HTTPBodyMarshaler
	streamType string
	beginning  string
	end        string
}

func (m *marshaler) StreamContentType(any) string { return m.streamType }

func (m *marshaler) Delimiter() []byte { return []byte(m.end) }

// Marshal prints a message, without the object of one field that grpc-gateway puts around each message of a stream.
func (m *marshaler) Marshal(value any) ([]byte, error) {
	switch wrapped := value.(type) {
	case map[string]any:
		text, err := m.HTTPBodyMarshaler.Marshal(wrapped["result"])
		return append([]byte(m.beginning), text...), err
	case map[string]proto.Message:
		return m.HTTPBodyMarshaler.Marshal(wrapped["error"])
	}
	return m.HTTPBodyMarshaler.Marshal(value)
}

// NewDecoder reads a whole body, which is one JSON object and nothing else; an empty one is an empty message.
func (m *marshaler) NewDecoder(body io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(value any) error {
		text, err := io.ReadAll(body)
		switch {
		case err != nil:
			return err
		case len(text) == 0:
			return io.EOF
		case !json.Valid(text) || bytes.TrimSpace(text)[0] != '{':
			return errors.New(wordsNotJSON)
		}
		return m.Unmarshal(text, value)
	})
}
