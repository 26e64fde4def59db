package entasis.web.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
 * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class WebServiceGrpc {

  private WebServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "entasis.web.v1.WebService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<entasis.web.v1.GetAssetRequest,
      com.google.api.HttpBody> getGetAssetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetAsset",
      requestType = entasis.web.v1.GetAssetRequest.class,
      responseType = com.google.api.HttpBody.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.web.v1.GetAssetRequest,
      com.google.api.HttpBody> getGetAssetMethod() {
    io.grpc.MethodDescriptor<entasis.web.v1.GetAssetRequest, com.google.api.HttpBody> getGetAssetMethod;
    if ((getGetAssetMethod = WebServiceGrpc.getGetAssetMethod) == null) {
      synchronized (WebServiceGrpc.class) {
        if ((getGetAssetMethod = WebServiceGrpc.getGetAssetMethod) == null) {
          WebServiceGrpc.getGetAssetMethod = getGetAssetMethod =
              io.grpc.MethodDescriptor.<entasis.web.v1.GetAssetRequest, com.google.api.HttpBody>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetAsset"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.web.v1.GetAssetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.google.api.HttpBody.getDefaultInstance()))
              .setSchemaDescriptor(new WebServiceMethodDescriptorSupplier("GetAsset"))
              .build();
        }
      }
    }
    return getGetAssetMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static WebServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WebServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WebServiceStub>() {
        @java.lang.Override
        public WebServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WebServiceStub(channel, callOptions);
        }
      };
    return WebServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static WebServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WebServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WebServiceBlockingV2Stub>() {
        @java.lang.Override
        public WebServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WebServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return WebServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static WebServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WebServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WebServiceBlockingStub>() {
        @java.lang.Override
        public WebServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WebServiceBlockingStub(channel, callOptions);
        }
      };
    return WebServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static WebServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WebServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WebServiceFutureStub>() {
        @java.lang.Override
        public WebServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WebServiceFutureStub(channel, callOptions);
        }
      };
    return WebServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * GetAsset returns one file. Over REST: `/` is the console, `/docs` is Swagger UI, `/docs/openapi.yaml` and
     * `/docs/asyncapi.yaml` describe the API.
     * The answer carries an `ETag`; whoever sends it back as `If-None-Match` gets 304 without a body while the file is
     * the same. Where `Accept-Encoding` allows it, text comes compressed.
     * Errors: REQUEST_002 (no such file).
     * </pre>
     */
    default void getAsset(entasis.web.v1.GetAssetRequest request,
        io.grpc.stub.StreamObserver<com.google.api.HttpBody> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetAssetMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service WebService.
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public static abstract class WebServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return WebServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service WebService.
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public static final class WebServiceStub
      extends io.grpc.stub.AbstractAsyncStub<WebServiceStub> {
    private WebServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WebServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WebServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetAsset returns one file. Over REST: `/` is the console, `/docs` is Swagger UI, `/docs/openapi.yaml` and
     * `/docs/asyncapi.yaml` describe the API.
     * The answer carries an `ETag`; whoever sends it back as `If-None-Match` gets 304 without a body while the file is
     * the same. Where `Accept-Encoding` allows it, text comes compressed.
     * Errors: REQUEST_002 (no such file).
     * </pre>
     */
    public void getAsset(entasis.web.v1.GetAssetRequest request,
        io.grpc.stub.StreamObserver<com.google.api.HttpBody> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetAssetMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service WebService.
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public static final class WebServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<WebServiceBlockingV2Stub> {
    private WebServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WebServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WebServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * GetAsset returns one file. Over REST: `/` is the console, `/docs` is Swagger UI, `/docs/openapi.yaml` and
     * `/docs/asyncapi.yaml` describe the API.
     * The answer carries an `ETag`; whoever sends it back as `If-None-Match` gets 304 without a body while the file is
     * the same. Where `Accept-Encoding` allows it, text comes compressed.
     * Errors: REQUEST_002 (no such file).
     * </pre>
     */
    public com.google.api.HttpBody getAsset(entasis.web.v1.GetAssetRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetAssetMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service WebService.
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public static final class WebServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<WebServiceBlockingStub> {
    private WebServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WebServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WebServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetAsset returns one file. Over REST: `/` is the console, `/docs` is Swagger UI, `/docs/openapi.yaml` and
     * `/docs/asyncapi.yaml` describe the API.
     * The answer carries an `ETag`; whoever sends it back as `If-None-Match` gets 304 without a body while the file is
     * the same. Where `Accept-Encoding` allows it, text comes compressed.
     * Errors: REQUEST_002 (no such file).
     * </pre>
     */
    public com.google.api.HttpBody getAsset(entasis.web.v1.GetAssetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetAssetMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service WebService.
   * <pre>
   * WebService serves the pages of the engine and what they load: nothing comes from any other host, so that they work
   * offline. Pages hold nothing secret; what they show they ask of the other services, with the key of whoever looks.
   * </pre>
   */
  public static final class WebServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<WebServiceFutureStub> {
    private WebServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WebServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WebServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetAsset returns one file. Over REST: `/` is the console, `/docs` is Swagger UI, `/docs/openapi.yaml` and
     * `/docs/asyncapi.yaml` describe the API.
     * The answer carries an `ETag`; whoever sends it back as `If-None-Match` gets 304 without a body while the file is
     * the same. Where `Accept-Encoding` allows it, text comes compressed.
     * Errors: REQUEST_002 (no such file).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.google.api.HttpBody> getAsset(
        entasis.web.v1.GetAssetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetAssetMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_ASSET = 0;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_GET_ASSET:
          serviceImpl.getAsset((entasis.web.v1.GetAssetRequest) request,
              (io.grpc.stub.StreamObserver<com.google.api.HttpBody>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getGetAssetMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.web.v1.GetAssetRequest,
              com.google.api.HttpBody>(
                service, METHODID_GET_ASSET)))
        .build();
  }

  private static abstract class WebServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    WebServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return entasis.web.v1.Web.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("WebService");
    }
  }

  private static final class WebServiceFileDescriptorSupplier
      extends WebServiceBaseDescriptorSupplier {
    WebServiceFileDescriptorSupplier() {}
  }

  private static final class WebServiceMethodDescriptorSupplier
      extends WebServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    WebServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (WebServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new WebServiceFileDescriptorSupplier())
              .addMethod(getGetAssetMethod())
              .build();
        }
      }
    }
    return result;
  }
}
