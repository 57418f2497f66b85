#!/usr/bin/python3
"""A gRPC client in another language, that knows nothing of the sensor but its address.

It learns services and messages by server reflection, as grpcurl does, and makes one call with them. Needs Debian's
python3-grpcio and python3-protobuf, and no generated code.

  grpc_client.py ADDRESS list
  grpc_client.py ADDRESS call SERVICE/METHOD [JSON] [--token TOKEN] [--limit N]

Prints services one a line, answers as JSON one a line (proto field names). A refused call prints
{"code": ..., "details": ...} and ends 1.
"""
import argparse
import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format

try:  # protobuf 4.22 and newer
    from google.protobuf.message_factory import GetMessageClass as message_class
except ImportError:
    from google.protobuf.message_factory import MessageFactory

    message_class = MessageFactory().GetPrototype

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
TIMEOUT = 10


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Field number and content of each field: the messages of reflection have to be read before there is a schema."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("wire type %d" % (tag & 7))
        yield tag >> 3, value


def text_field(number, text):
    content = text.encode()
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def reflect(channel, request, metadata):
    """The content of the answer: (field number, bytes) of message_response."""
    call = channel.stream_stream(REFLECTION)
    for answer in call(iter([request]), timeout=TIMEOUT, metadata=metadata):
        for number, value in fields(answer):
            if number == 7:
                raise LookupError(dict(fields(value)))
            if number in (4, 6):
                return value
    raise LookupError("no answer")


def services(channel, metadata):
    listed = reflect(channel, text_field(7, "*"), metadata)
    return [dict(fields(service))[1].decode() for _, service in fields(listed)]


def pool_with(channel, symbol, metadata):
    files = {}
    for _, content in fields(reflect(channel, text_field(4, symbol), metadata)):
        proto = descriptor_pb2.FileDescriptorProto.FromString(content)
        files[proto.name] = proto
    pool = descriptor_pool.DescriptorPool()

    def add(name):
        proto = files.pop(name, None)
        if proto is None:
            return
        for imported in proto.dependency:
            add(imported)
        pool.Add(proto)

    for name in list(files):
        add(name)
    return pool


def call(channel, path, request_json, metadata, limit):
    service_name, method_name = path.split("/")
    pool = pool_with(channel, service_name, metadata)
    method = pool.FindServiceByName(service_name).methods_by_name[method_name]
    request_class, answer_class = message_class(method.input_type), message_class(method.output_type)
    request = json_format.Parse(request_json, request_class())
    streams = next(
        described.server_streaming
        for described in proto_methods(method.containing_service)
        if described.name == method_name
    )
    make = channel.unary_stream if streams else channel.unary_unary
    made = make(
        "/" + path, request_serializer=request_class.SerializeToString, response_deserializer=answer_class.FromString
    )
    answers = made(request, timeout=TIMEOUT, metadata=metadata)
    if not streams:
        yield answers
        return
    for count, answer in enumerate(answers, 1):
        yield answer
        if count == limit:
            answers.cancel()
            return


def proto_methods(service):
    proto = descriptor_pb2.ServiceDescriptorProto()
    service.CopyToProto(proto)
    return proto.method


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("verb", choices=["list", "call"])
    parser.add_argument("method", nargs="?")
    parser.add_argument("request", nargs="?", default="{}")
    parser.add_argument("--token")
    parser.add_argument("--limit", type=int, default=1)
    options = parser.parse_args()
    metadata = [] if options.token is None else [("authorization", "Bearer " + options.token)]
    with grpc.insecure_channel(options.address) as channel:
        try:
            if options.verb == "list":
                print("\n".join(services(channel, metadata)))
                return 0
            for answer in call(channel, options.method, options.request, metadata, options.limit):
                print(json.dumps(json_format.MessageToDict(answer, preserving_proto_field_name=True)), flush=True)
            return 0
        except grpc.RpcError as error:
            print(json.dumps({"code": error.code().name, "details": error.details()}))
            return 1


if __name__ == "__main__":
    sys.exit(main())
