package entasis.access.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
 * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
 * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
 * may do what both permit.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class AccessServiceGrpc {

  private AccessServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "entasis.access.v1.AccessService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<entasis.access.v1.IssueTokenRequest,
      entasis.access.v1.IssueTokenResponse> getIssueTokenMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "IssueToken",
      requestType = entasis.access.v1.IssueTokenRequest.class,
      responseType = entasis.access.v1.IssueTokenResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.access.v1.IssueTokenRequest,
      entasis.access.v1.IssueTokenResponse> getIssueTokenMethod() {
    io.grpc.MethodDescriptor<entasis.access.v1.IssueTokenRequest, entasis.access.v1.IssueTokenResponse> getIssueTokenMethod;
    if ((getIssueTokenMethod = AccessServiceGrpc.getIssueTokenMethod) == null) {
      synchronized (AccessServiceGrpc.class) {
        if ((getIssueTokenMethod = AccessServiceGrpc.getIssueTokenMethod) == null) {
          AccessServiceGrpc.getIssueTokenMethod = getIssueTokenMethod =
              io.grpc.MethodDescriptor.<entasis.access.v1.IssueTokenRequest, entasis.access.v1.IssueTokenResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "IssueToken"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.IssueTokenRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.IssueTokenResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccessServiceMethodDescriptorSupplier("IssueToken"))
              .build();
        }
      }
    }
    return getIssueTokenMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.access.v1.OpenSessionRequest,
      entasis.access.v1.OpenSessionResponse> getOpenSessionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "OpenSession",
      requestType = entasis.access.v1.OpenSessionRequest.class,
      responseType = entasis.access.v1.OpenSessionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.access.v1.OpenSessionRequest,
      entasis.access.v1.OpenSessionResponse> getOpenSessionMethod() {
    io.grpc.MethodDescriptor<entasis.access.v1.OpenSessionRequest, entasis.access.v1.OpenSessionResponse> getOpenSessionMethod;
    if ((getOpenSessionMethod = AccessServiceGrpc.getOpenSessionMethod) == null) {
      synchronized (AccessServiceGrpc.class) {
        if ((getOpenSessionMethod = AccessServiceGrpc.getOpenSessionMethod) == null) {
          AccessServiceGrpc.getOpenSessionMethod = getOpenSessionMethod =
              io.grpc.MethodDescriptor.<entasis.access.v1.OpenSessionRequest, entasis.access.v1.OpenSessionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "OpenSession"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.OpenSessionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.OpenSessionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccessServiceMethodDescriptorSupplier("OpenSession"))
              .build();
        }
      }
    }
    return getOpenSessionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.access.v1.ListEndedSessionsRequest,
      entasis.access.v1.ListEndedSessionsResponse> getListEndedSessionsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListEndedSessions",
      requestType = entasis.access.v1.ListEndedSessionsRequest.class,
      responseType = entasis.access.v1.ListEndedSessionsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.access.v1.ListEndedSessionsRequest,
      entasis.access.v1.ListEndedSessionsResponse> getListEndedSessionsMethod() {
    io.grpc.MethodDescriptor<entasis.access.v1.ListEndedSessionsRequest, entasis.access.v1.ListEndedSessionsResponse> getListEndedSessionsMethod;
    if ((getListEndedSessionsMethod = AccessServiceGrpc.getListEndedSessionsMethod) == null) {
      synchronized (AccessServiceGrpc.class) {
        if ((getListEndedSessionsMethod = AccessServiceGrpc.getListEndedSessionsMethod) == null) {
          AccessServiceGrpc.getListEndedSessionsMethod = getListEndedSessionsMethod =
              io.grpc.MethodDescriptor.<entasis.access.v1.ListEndedSessionsRequest, entasis.access.v1.ListEndedSessionsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListEndedSessions"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.ListEndedSessionsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.ListEndedSessionsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccessServiceMethodDescriptorSupplier("ListEndedSessions"))
              .build();
        }
      }
    }
    return getListEndedSessionsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.access.v1.NoteRefusalsRequest,
      entasis.access.v1.NoteRefusalsResponse> getNoteRefusalsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "NoteRefusals",
      requestType = entasis.access.v1.NoteRefusalsRequest.class,
      responseType = entasis.access.v1.NoteRefusalsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.access.v1.NoteRefusalsRequest,
      entasis.access.v1.NoteRefusalsResponse> getNoteRefusalsMethod() {
    io.grpc.MethodDescriptor<entasis.access.v1.NoteRefusalsRequest, entasis.access.v1.NoteRefusalsResponse> getNoteRefusalsMethod;
    if ((getNoteRefusalsMethod = AccessServiceGrpc.getNoteRefusalsMethod) == null) {
      synchronized (AccessServiceGrpc.class) {
        if ((getNoteRefusalsMethod = AccessServiceGrpc.getNoteRefusalsMethod) == null) {
          AccessServiceGrpc.getNoteRefusalsMethod = getNoteRefusalsMethod =
              io.grpc.MethodDescriptor.<entasis.access.v1.NoteRefusalsRequest, entasis.access.v1.NoteRefusalsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "NoteRefusals"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.NoteRefusalsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.access.v1.NoteRefusalsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AccessServiceMethodDescriptorSupplier("NoteRefusals"))
              .build();
        }
      }
    }
    return getNoteRefusalsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static AccessServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccessServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccessServiceStub>() {
        @java.lang.Override
        public AccessServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccessServiceStub(channel, callOptions);
        }
      };
    return AccessServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static AccessServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccessServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccessServiceBlockingV2Stub>() {
        @java.lang.Override
        public AccessServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccessServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return AccessServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static AccessServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccessServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccessServiceBlockingStub>() {
        @java.lang.Override
        public AccessServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccessServiceBlockingStub(channel, callOptions);
        }
      };
    return AccessServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static AccessServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AccessServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AccessServiceFutureStub>() {
        @java.lang.Override
        public AccessServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AccessServiceFutureStub(channel, callOptions);
        }
      };
    return AccessServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * IssueToken exchanges the API key of the call for a short-lived token (JWT, RFC 7519 and RFC 9068) that has the
     * key's scopes or fewer. The token dies with the key. Over REST the answer carries `Cache-Control: no-store`.
     * Errors: AUTH_001 (no API key, or not a valid one), AUTH_002 (a scope that the key has not), REQUEST_001.
     * </pre>
     */
    default void issueToken(entasis.access.v1.IssueTokenRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.IssueTokenResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getIssueTokenMethod(), responseObserver);
    }

    /**
     * <pre>
     * OpenSession tells whose the credentials of the call are, and what they permit. A bridge calls it for each
     * connection that it accepts, with the client's credentials and address; it counts as one request of that caller.
     * Errors: AUTH_001, AUTH_003, LIMIT_001.
     * </pre>
     */
    default void openSession(entasis.access.v1.OpenSessionRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.OpenSessionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getOpenSessionMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListEndedSessions tells which of the sessions that a bridge holds are over, because a key was revoked or expired,
     * an account was closed, or an address is no longer allowed. A bridge asks every few seconds.
     * </pre>
     */
    default void listEndedSessions(entasis.access.v1.ListEndedSessionsRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.ListEndedSessionsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListEndedSessionsMethod(), responseObserver);
    }

    /**
     * <pre>
     * NoteRefusals has the engine note in its audit log what a bridge refused by itself on open connections.
     * </pre>
     */
    default void noteRefusals(entasis.access.v1.NoteRefusalsRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.NoteRefusalsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getNoteRefusalsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service AccessService.
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public static abstract class AccessServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return AccessServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service AccessService.
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public static final class AccessServiceStub
      extends io.grpc.stub.AbstractAsyncStub<AccessServiceStub> {
    private AccessServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccessServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccessServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * IssueToken exchanges the API key of the call for a short-lived token (JWT, RFC 7519 and RFC 9068) that has the
     * key's scopes or fewer. The token dies with the key. Over REST the answer carries `Cache-Control: no-store`.
     * Errors: AUTH_001 (no API key, or not a valid one), AUTH_002 (a scope that the key has not), REQUEST_001.
     * </pre>
     */
    public void issueToken(entasis.access.v1.IssueTokenRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.IssueTokenResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getIssueTokenMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * OpenSession tells whose the credentials of the call are, and what they permit. A bridge calls it for each
     * connection that it accepts, with the client's credentials and address; it counts as one request of that caller.
     * Errors: AUTH_001, AUTH_003, LIMIT_001.
     * </pre>
     */
    public void openSession(entasis.access.v1.OpenSessionRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.OpenSessionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getOpenSessionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListEndedSessions tells which of the sessions that a bridge holds are over, because a key was revoked or expired,
     * an account was closed, or an address is no longer allowed. A bridge asks every few seconds.
     * </pre>
     */
    public void listEndedSessions(entasis.access.v1.ListEndedSessionsRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.ListEndedSessionsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListEndedSessionsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * NoteRefusals has the engine note in its audit log what a bridge refused by itself on open connections.
     * </pre>
     */
    public void noteRefusals(entasis.access.v1.NoteRefusalsRequest request,
        io.grpc.stub.StreamObserver<entasis.access.v1.NoteRefusalsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getNoteRefusalsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service AccessService.
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public static final class AccessServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<AccessServiceBlockingV2Stub> {
    private AccessServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccessServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccessServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * IssueToken exchanges the API key of the call for a short-lived token (JWT, RFC 7519 and RFC 9068) that has the
     * key's scopes or fewer. The token dies with the key. Over REST the answer carries `Cache-Control: no-store`.
     * Errors: AUTH_001 (no API key, or not a valid one), AUTH_002 (a scope that the key has not), REQUEST_001.
     * </pre>
     */
    public entasis.access.v1.IssueTokenResponse issueToken(entasis.access.v1.IssueTokenRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getIssueTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * OpenSession tells whose the credentials of the call are, and what they permit. A bridge calls it for each
     * connection that it accepts, with the client's credentials and address; it counts as one request of that caller.
     * Errors: AUTH_001, AUTH_003, LIMIT_001.
     * </pre>
     */
    public entasis.access.v1.OpenSessionResponse openSession(entasis.access.v1.OpenSessionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getOpenSessionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListEndedSessions tells which of the sessions that a bridge holds are over, because a key was revoked or expired,
     * an account was closed, or an address is no longer allowed. A bridge asks every few seconds.
     * </pre>
     */
    public entasis.access.v1.ListEndedSessionsResponse listEndedSessions(entasis.access.v1.ListEndedSessionsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListEndedSessionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * NoteRefusals has the engine note in its audit log what a bridge refused by itself on open connections.
     * </pre>
     */
    public entasis.access.v1.NoteRefusalsResponse noteRefusals(entasis.access.v1.NoteRefusalsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getNoteRefusalsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service AccessService.
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public static final class AccessServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<AccessServiceBlockingStub> {
    private AccessServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccessServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccessServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * IssueToken exchanges the API key of the call for a short-lived token (JWT, RFC 7519 and RFC 9068) that has the
     * key's scopes or fewer. The token dies with the key. Over REST the answer carries `Cache-Control: no-store`.
     * Errors: AUTH_001 (no API key, or not a valid one), AUTH_002 (a scope that the key has not), REQUEST_001.
     * </pre>
     */
    public entasis.access.v1.IssueTokenResponse issueToken(entasis.access.v1.IssueTokenRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getIssueTokenMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * OpenSession tells whose the credentials of the call are, and what they permit. A bridge calls it for each
     * connection that it accepts, with the client's credentials and address; it counts as one request of that caller.
     * Errors: AUTH_001, AUTH_003, LIMIT_001.
     * </pre>
     */
    public entasis.access.v1.OpenSessionResponse openSession(entasis.access.v1.OpenSessionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getOpenSessionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListEndedSessions tells which of the sessions that a bridge holds are over, because a key was revoked or expired,
     * an account was closed, or an address is no longer allowed. A bridge asks every few seconds.
     * </pre>
     */
    public entasis.access.v1.ListEndedSessionsResponse listEndedSessions(entasis.access.v1.ListEndedSessionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListEndedSessionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * NoteRefusals has the engine note in its audit log what a bridge refused by itself on open connections.
     * </pre>
     */
    public entasis.access.v1.NoteRefusalsResponse noteRefusals(entasis.access.v1.NoteRefusalsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getNoteRefusalsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service AccessService.
   * <pre>
   * AccessService exchanges credentials, and tells the parts of the engine that hold connections open whose they are.
   * Credentials are sent as `X-API-Key: ek_…` or `Authorization: Bearer &lt;token&gt;`, over gRPC as metadata of the same names
   * in lower case. Either one is enough; where both are sent, both must be valid and name the same account, and the call
   * may do what both permit.
   * </pre>
   */
  public static final class AccessServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<AccessServiceFutureStub> {
    private AccessServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AccessServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AccessServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * IssueToken exchanges the API key of the call for a short-lived token (JWT, RFC 7519 and RFC 9068) that has the
     * key's scopes or fewer. The token dies with the key. Over REST the answer carries `Cache-Control: no-store`.
     * Errors: AUTH_001 (no API key, or not a valid one), AUTH_002 (a scope that the key has not), REQUEST_001.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.access.v1.IssueTokenResponse> issueToken(
        entasis.access.v1.IssueTokenRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getIssueTokenMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * OpenSession tells whose the credentials of the call are, and what they permit. A bridge calls it for each
     * connection that it accepts, with the client's credentials and address; it counts as one request of that caller.
     * Errors: AUTH_001, AUTH_003, LIMIT_001.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.access.v1.OpenSessionResponse> openSession(
        entasis.access.v1.OpenSessionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getOpenSessionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListEndedSessions tells which of the sessions that a bridge holds are over, because a key was revoked or expired,
     * an account was closed, or an address is no longer allowed. A bridge asks every few seconds.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.access.v1.ListEndedSessionsResponse> listEndedSessions(
        entasis.access.v1.ListEndedSessionsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListEndedSessionsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * NoteRefusals has the engine note in its audit log what a bridge refused by itself on open connections.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.access.v1.NoteRefusalsResponse> noteRefusals(
        entasis.access.v1.NoteRefusalsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getNoteRefusalsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_ISSUE_TOKEN = 0;
  private static final int METHODID_OPEN_SESSION = 1;
  private static final int METHODID_LIST_ENDED_SESSIONS = 2;
  private static final int METHODID_NOTE_REFUSALS = 3;

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
        case METHODID_ISSUE_TOKEN:
          serviceImpl.issueToken((entasis.access.v1.IssueTokenRequest) request,
              (io.grpc.stub.StreamObserver<entasis.access.v1.IssueTokenResponse>) responseObserver);
          break;
        case METHODID_OPEN_SESSION:
          serviceImpl.openSession((entasis.access.v1.OpenSessionRequest) request,
              (io.grpc.stub.StreamObserver<entasis.access.v1.OpenSessionResponse>) responseObserver);
          break;
        case METHODID_LIST_ENDED_SESSIONS:
          serviceImpl.listEndedSessions((entasis.access.v1.ListEndedSessionsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.access.v1.ListEndedSessionsResponse>) responseObserver);
          break;
        case METHODID_NOTE_REFUSALS:
          serviceImpl.noteRefusals((entasis.access.v1.NoteRefusalsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.access.v1.NoteRefusalsResponse>) responseObserver);
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
          getIssueTokenMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.access.v1.IssueTokenRequest,
              entasis.access.v1.IssueTokenResponse>(
                service, METHODID_ISSUE_TOKEN)))
        .addMethod(
          getOpenSessionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.access.v1.OpenSessionRequest,
              entasis.access.v1.OpenSessionResponse>(
                service, METHODID_OPEN_SESSION)))
        .addMethod(
          getListEndedSessionsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.access.v1.ListEndedSessionsRequest,
              entasis.access.v1.ListEndedSessionsResponse>(
                service, METHODID_LIST_ENDED_SESSIONS)))
        .addMethod(
          getNoteRefusalsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.access.v1.NoteRefusalsRequest,
              entasis.access.v1.NoteRefusalsResponse>(
                service, METHODID_NOTE_REFUSALS)))
        .build();
  }

  private static abstract class AccessServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    AccessServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return entasis.access.v1.Access.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("AccessService");
    }
  }

  private static final class AccessServiceFileDescriptorSupplier
      extends AccessServiceBaseDescriptorSupplier {
    AccessServiceFileDescriptorSupplier() {}
  }

  private static final class AccessServiceMethodDescriptorSupplier
      extends AccessServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    AccessServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (AccessServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new AccessServiceFileDescriptorSupplier())
              .addMethod(getIssueTokenMethod())
              .addMethod(getOpenSessionMethod())
              .addMethod(getListEndedSessionsMethod())
              .addMethod(getNoteRefusalsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
