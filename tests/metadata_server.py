"""An ML Metadata server: the gRPC service of the package, in front of a store in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto, metadata_store_service_pb2 as service


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Runs the server on a free port and yields its metadata URL."""
    config = proto.ConnectionConfig()
    config.fake_database.SetInParent()
    store = mlmd.MetadataStore(config)
    description = service.DESCRIPTOR.services_by_name["MetadataStoreService"]

    def handler(name: str, answer: type) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            response = answer()
            try:
                store._call_method(name, request, response)
            except mlmd.errors.StatusError as error:
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[error.error_code], error.message)
            return response

        return handle

    handlers = {}
    for method in description.methods:
        request = getattr(service, method.input_type.name)
        answer = getattr(service, method.output_type.name)
        handlers[method.name] = grpc.unary_unary_rpc_method_handler(
            handler(method.name, answer), request.FromString, answer.SerializeToString
        )
    # One thread: the store in memory is not made for more.
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(description.full_name, handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
