// Names and pins the one part of the contract that no Python package carries: buf/validate/validate.proto.
// `make gen` reads it from the Go module; nothing is compiled.
module entasis.local/contract

go 1.21

require github.com/bufbuild/protovalidate v1.2.2
