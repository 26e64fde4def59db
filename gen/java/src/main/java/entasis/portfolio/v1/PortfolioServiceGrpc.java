package entasis.portfolio.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
 * speaks of the caller's own account: another account's position does not exist for the caller.
 * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
 * characters: within 24 hours the same key with the same request gets the first answer again, with the header
 * `idempotency-replayed: true`; with another request it is REQUEST_005.
 * Sizes are in base currency, prices and money in quote currency, all decimal strings.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class PortfolioServiceGrpc {

  private PortfolioServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "entasis.portfolio.v1.PortfolioService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.ListPositionsRequest,
      entasis.portfolio.v1.ListPositionsResponse> getListPositionsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListPositions",
      requestType = entasis.portfolio.v1.ListPositionsRequest.class,
      responseType = entasis.portfolio.v1.ListPositionsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.ListPositionsRequest,
      entasis.portfolio.v1.ListPositionsResponse> getListPositionsMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.ListPositionsRequest, entasis.portfolio.v1.ListPositionsResponse> getListPositionsMethod;
    if ((getListPositionsMethod = PortfolioServiceGrpc.getListPositionsMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getListPositionsMethod = PortfolioServiceGrpc.getListPositionsMethod) == null) {
          PortfolioServiceGrpc.getListPositionsMethod = getListPositionsMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.ListPositionsRequest, entasis.portfolio.v1.ListPositionsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListPositions"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListPositionsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListPositionsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("ListPositions"))
              .build();
        }
      }
    }
    return getListPositionsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.GetPositionRequest,
      entasis.portfolio.v1.GetPositionResponse> getGetPositionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetPosition",
      requestType = entasis.portfolio.v1.GetPositionRequest.class,
      responseType = entasis.portfolio.v1.GetPositionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.GetPositionRequest,
      entasis.portfolio.v1.GetPositionResponse> getGetPositionMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.GetPositionRequest, entasis.portfolio.v1.GetPositionResponse> getGetPositionMethod;
    if ((getGetPositionMethod = PortfolioServiceGrpc.getGetPositionMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getGetPositionMethod = PortfolioServiceGrpc.getGetPositionMethod) == null) {
          PortfolioServiceGrpc.getGetPositionMethod = getGetPositionMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.GetPositionRequest, entasis.portfolio.v1.GetPositionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetPosition"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.GetPositionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.GetPositionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("GetPosition"))
              .build();
        }
      }
    }
    return getGetPositionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.CreatePositionRequest,
      entasis.portfolio.v1.CreatePositionResponse> getCreatePositionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreatePosition",
      requestType = entasis.portfolio.v1.CreatePositionRequest.class,
      responseType = entasis.portfolio.v1.CreatePositionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.CreatePositionRequest,
      entasis.portfolio.v1.CreatePositionResponse> getCreatePositionMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.CreatePositionRequest, entasis.portfolio.v1.CreatePositionResponse> getCreatePositionMethod;
    if ((getCreatePositionMethod = PortfolioServiceGrpc.getCreatePositionMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getCreatePositionMethod = PortfolioServiceGrpc.getCreatePositionMethod) == null) {
          PortfolioServiceGrpc.getCreatePositionMethod = getCreatePositionMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.CreatePositionRequest, entasis.portfolio.v1.CreatePositionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreatePosition"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.CreatePositionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.CreatePositionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("CreatePosition"))
              .build();
        }
      }
    }
    return getCreatePositionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.ClosePositionRequest,
      entasis.portfolio.v1.ClosePositionResponse> getClosePositionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ClosePosition",
      requestType = entasis.portfolio.v1.ClosePositionRequest.class,
      responseType = entasis.portfolio.v1.ClosePositionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.ClosePositionRequest,
      entasis.portfolio.v1.ClosePositionResponse> getClosePositionMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.ClosePositionRequest, entasis.portfolio.v1.ClosePositionResponse> getClosePositionMethod;
    if ((getClosePositionMethod = PortfolioServiceGrpc.getClosePositionMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getClosePositionMethod = PortfolioServiceGrpc.getClosePositionMethod) == null) {
          PortfolioServiceGrpc.getClosePositionMethod = getClosePositionMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.ClosePositionRequest, entasis.portfolio.v1.ClosePositionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ClosePosition"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ClosePositionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ClosePositionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("ClosePosition"))
              .build();
        }
      }
    }
    return getClosePositionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.StreamPositionsRequest,
      entasis.portfolio.v1.StreamPositionsResponse> getStreamPositionsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StreamPositions",
      requestType = entasis.portfolio.v1.StreamPositionsRequest.class,
      responseType = entasis.portfolio.v1.StreamPositionsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.StreamPositionsRequest,
      entasis.portfolio.v1.StreamPositionsResponse> getStreamPositionsMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.StreamPositionsRequest, entasis.portfolio.v1.StreamPositionsResponse> getStreamPositionsMethod;
    if ((getStreamPositionsMethod = PortfolioServiceGrpc.getStreamPositionsMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getStreamPositionsMethod = PortfolioServiceGrpc.getStreamPositionsMethod) == null) {
          PortfolioServiceGrpc.getStreamPositionsMethod = getStreamPositionsMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.StreamPositionsRequest, entasis.portfolio.v1.StreamPositionsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StreamPositions"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.StreamPositionsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.StreamPositionsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("StreamPositions"))
              .build();
        }
      }
    }
    return getStreamPositionsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.GetBalanceRequest,
      entasis.portfolio.v1.GetBalanceResponse> getGetBalanceMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetBalance",
      requestType = entasis.portfolio.v1.GetBalanceRequest.class,
      responseType = entasis.portfolio.v1.GetBalanceResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.GetBalanceRequest,
      entasis.portfolio.v1.GetBalanceResponse> getGetBalanceMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.GetBalanceRequest, entasis.portfolio.v1.GetBalanceResponse> getGetBalanceMethod;
    if ((getGetBalanceMethod = PortfolioServiceGrpc.getGetBalanceMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getGetBalanceMethod = PortfolioServiceGrpc.getGetBalanceMethod) == null) {
          PortfolioServiceGrpc.getGetBalanceMethod = getGetBalanceMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.GetBalanceRequest, entasis.portfolio.v1.GetBalanceResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetBalance"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.GetBalanceRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.GetBalanceResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("GetBalance"))
              .build();
        }
      }
    }
    return getGetBalanceMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.ListTradesRequest,
      entasis.portfolio.v1.ListTradesResponse> getListTradesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListTrades",
      requestType = entasis.portfolio.v1.ListTradesRequest.class,
      responseType = entasis.portfolio.v1.ListTradesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.ListTradesRequest,
      entasis.portfolio.v1.ListTradesResponse> getListTradesMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.ListTradesRequest, entasis.portfolio.v1.ListTradesResponse> getListTradesMethod;
    if ((getListTradesMethod = PortfolioServiceGrpc.getListTradesMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getListTradesMethod = PortfolioServiceGrpc.getListTradesMethod) == null) {
          PortfolioServiceGrpc.getListTradesMethod = getListTradesMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.ListTradesRequest, entasis.portfolio.v1.ListTradesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListTrades"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListTradesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListTradesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("ListTrades"))
              .build();
        }
      }
    }
    return getListTradesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.portfolio.v1.ListLedgerEntriesRequest,
      entasis.portfolio.v1.ListLedgerEntriesResponse> getListLedgerEntriesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListLedgerEntries",
      requestType = entasis.portfolio.v1.ListLedgerEntriesRequest.class,
      responseType = entasis.portfolio.v1.ListLedgerEntriesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.portfolio.v1.ListLedgerEntriesRequest,
      entasis.portfolio.v1.ListLedgerEntriesResponse> getListLedgerEntriesMethod() {
    io.grpc.MethodDescriptor<entasis.portfolio.v1.ListLedgerEntriesRequest, entasis.portfolio.v1.ListLedgerEntriesResponse> getListLedgerEntriesMethod;
    if ((getListLedgerEntriesMethod = PortfolioServiceGrpc.getListLedgerEntriesMethod) == null) {
      synchronized (PortfolioServiceGrpc.class) {
        if ((getListLedgerEntriesMethod = PortfolioServiceGrpc.getListLedgerEntriesMethod) == null) {
          PortfolioServiceGrpc.getListLedgerEntriesMethod = getListLedgerEntriesMethod =
              io.grpc.MethodDescriptor.<entasis.portfolio.v1.ListLedgerEntriesRequest, entasis.portfolio.v1.ListLedgerEntriesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListLedgerEntries"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListLedgerEntriesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.portfolio.v1.ListLedgerEntriesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new PortfolioServiceMethodDescriptorSupplier("ListLedgerEntries"))
              .build();
        }
      }
    }
    return getListLedgerEntriesMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static PortfolioServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceStub>() {
        @java.lang.Override
        public PortfolioServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new PortfolioServiceStub(channel, callOptions);
        }
      };
    return PortfolioServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static PortfolioServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceBlockingV2Stub>() {
        @java.lang.Override
        public PortfolioServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new PortfolioServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return PortfolioServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static PortfolioServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceBlockingStub>() {
        @java.lang.Override
        public PortfolioServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new PortfolioServiceBlockingStub(channel, callOptions);
        }
      };
    return PortfolioServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static PortfolioServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<PortfolioServiceFutureStub>() {
        @java.lang.Override
        public PortfolioServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new PortfolioServiceFutureStub(channel, callOptions);
        }
      };
    return PortfolioServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * ListPositions returns the account's positions, oldest first.
     * Errors: REQUEST_001 (status, page_token).
     * </pre>
     */
    default void listPositions(entasis.portfolio.v1.ListPositionsRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListPositionsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListPositionsMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetPosition returns one position.
     * Errors: PORT_003 (no such position).
     * </pre>
     */
    default void getPosition(entasis.portfolio.v1.GetPositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetPositionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetPositionMethod(), responseObserver);
    }

    /**
     * <pre>
     * CreatePosition opens a position at the price that walking the order book gives, or at the last price where there is
     * no book. Over REST it answers 201.
     * Errors: MARKET_001 (symbol), MARKET_002 (no live price), PORT_001 (balance), PORT_002 (limits), REQUEST_001 (size,
     * type, leverage), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    default void createPosition(entasis.portfolio.v1.CreatePositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.CreatePositionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreatePositionMethod(), responseObserver);
    }

    /**
     * <pre>
     * ClosePosition closes a position, or a part of it, at the price that walking the order book gives.
     * Errors: MARKET_002 (no live price), PORT_003 (no such position), PORT_004 (not open, or less than `size` is),
     * REQUEST_001 (size), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    default void closePosition(entasis.portfolio.v1.ClosePositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ClosePositionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getClosePositionMethod(), responseObserver);
    }

    /**
     * <pre>
     * StreamPositions sends all open positions as they stand, and then what each position that changed is like, whoever
     * changed it: opened, smaller by a part that was closed, closed, liquidated, and at most twice a second what a new
     * price makes of an open one. Updates come in batches. Each is the whole position as GetPosition has it, and replaces
     * the one before. What befell a position in quick succession may come as one update, its last state: a position that
     * was opened and closed at once is told as closed alone. ListTrades has each fill.
     * Changes of one position come in order. Changes that another engine made on the same ledger come within about a
     * second, or, should the clocks of the two differ by more than half a minute, within about ten; of several positions
     * that it changed meanwhile, in the order that they were opened in. After the ledger could not be read, or where an
     * account had very many changes, positions that were both opened and closed meanwhile may be left out.
     * Where more than 1024 updates wait for a slow reader, it gets the newest of each position instead, a closed one
     * included; `seq` shows the gap. Where even they are more than 1024, it gets a new snapshot, which says nothing of
     * those that have ended: ListPositions does.
     * Errors: SERVER_002 (the ledger cannot be read).
     * </pre>
     */
    default void streamPositions(entasis.portfolio.v1.StreamPositionsRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.StreamPositionsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStreamPositionsMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetBalance returns what the account has, by currency.
     * </pre>
     */
    default void getBalance(entasis.portfolio.v1.GetBalanceRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetBalanceResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetBalanceMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListTrades returns the account's fills, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    default void listTrades(entasis.portfolio.v1.ListTradesRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListTradesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListTradesMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListLedgerEntries returns the changes of the account's balances, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    default void listLedgerEntries(entasis.portfolio.v1.ListLedgerEntriesRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListLedgerEntriesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListLedgerEntriesMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service PortfolioService.
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public static abstract class PortfolioServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return PortfolioServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service PortfolioService.
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public static final class PortfolioServiceStub
      extends io.grpc.stub.AbstractAsyncStub<PortfolioServiceStub> {
    private PortfolioServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected PortfolioServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new PortfolioServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListPositions returns the account's positions, oldest first.
     * Errors: REQUEST_001 (status, page_token).
     * </pre>
     */
    public void listPositions(entasis.portfolio.v1.ListPositionsRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListPositionsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListPositionsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetPosition returns one position.
     * Errors: PORT_003 (no such position).
     * </pre>
     */
    public void getPosition(entasis.portfolio.v1.GetPositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetPositionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetPositionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * CreatePosition opens a position at the price that walking the order book gives, or at the last price where there is
     * no book. Over REST it answers 201.
     * Errors: MARKET_001 (symbol), MARKET_002 (no live price), PORT_001 (balance), PORT_002 (limits), REQUEST_001 (size,
     * type, leverage), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public void createPosition(entasis.portfolio.v1.CreatePositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.CreatePositionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreatePositionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ClosePosition closes a position, or a part of it, at the price that walking the order book gives.
     * Errors: MARKET_002 (no live price), PORT_003 (no such position), PORT_004 (not open, or less than `size` is),
     * REQUEST_001 (size), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public void closePosition(entasis.portfolio.v1.ClosePositionRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ClosePositionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getClosePositionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * StreamPositions sends all open positions as they stand, and then what each position that changed is like, whoever
     * changed it: opened, smaller by a part that was closed, closed, liquidated, and at most twice a second what a new
     * price makes of an open one. Updates come in batches. Each is the whole position as GetPosition has it, and replaces
     * the one before. What befell a position in quick succession may come as one update, its last state: a position that
     * was opened and closed at once is told as closed alone. ListTrades has each fill.
     * Changes of one position come in order. Changes that another engine made on the same ledger come within about a
     * second, or, should the clocks of the two differ by more than half a minute, within about ten; of several positions
     * that it changed meanwhile, in the order that they were opened in. After the ledger could not be read, or where an
     * account had very many changes, positions that were both opened and closed meanwhile may be left out.
     * Where more than 1024 updates wait for a slow reader, it gets the newest of each position instead, a closed one
     * included; `seq` shows the gap. Where even they are more than 1024, it gets a new snapshot, which says nothing of
     * those that have ended: ListPositions does.
     * Errors: SERVER_002 (the ledger cannot be read).
     * </pre>
     */
    public void streamPositions(entasis.portfolio.v1.StreamPositionsRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.StreamPositionsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getStreamPositionsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetBalance returns what the account has, by currency.
     * </pre>
     */
    public void getBalance(entasis.portfolio.v1.GetBalanceRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetBalanceResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetBalanceMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListTrades returns the account's fills, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public void listTrades(entasis.portfolio.v1.ListTradesRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListTradesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListTradesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListLedgerEntries returns the changes of the account's balances, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public void listLedgerEntries(entasis.portfolio.v1.ListLedgerEntriesRequest request,
        io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListLedgerEntriesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListLedgerEntriesMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service PortfolioService.
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public static final class PortfolioServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<PortfolioServiceBlockingV2Stub> {
    private PortfolioServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected PortfolioServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new PortfolioServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * ListPositions returns the account's positions, oldest first.
     * Errors: REQUEST_001 (status, page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListPositionsResponse listPositions(entasis.portfolio.v1.ListPositionsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListPositionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetPosition returns one position.
     * Errors: PORT_003 (no such position).
     * </pre>
     */
    public entasis.portfolio.v1.GetPositionResponse getPosition(entasis.portfolio.v1.GetPositionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetPositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * CreatePosition opens a position at the price that walking the order book gives, or at the last price where there is
     * no book. Over REST it answers 201.
     * Errors: MARKET_001 (symbol), MARKET_002 (no live price), PORT_001 (balance), PORT_002 (limits), REQUEST_001 (size,
     * type, leverage), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public entasis.portfolio.v1.CreatePositionResponse createPosition(entasis.portfolio.v1.CreatePositionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreatePositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ClosePosition closes a position, or a part of it, at the price that walking the order book gives.
     * Errors: MARKET_002 (no live price), PORT_003 (no such position), PORT_004 (not open, or less than `size` is),
     * REQUEST_001 (size), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public entasis.portfolio.v1.ClosePositionResponse closePosition(entasis.portfolio.v1.ClosePositionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getClosePositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamPositions sends all open positions as they stand, and then what each position that changed is like, whoever
     * changed it: opened, smaller by a part that was closed, closed, liquidated, and at most twice a second what a new
     * price makes of an open one. Updates come in batches. Each is the whole position as GetPosition has it, and replaces
     * the one before. What befell a position in quick succession may come as one update, its last state: a position that
     * was opened and closed at once is told as closed alone. ListTrades has each fill.
     * Changes of one position come in order. Changes that another engine made on the same ledger come within about a
     * second, or, should the clocks of the two differ by more than half a minute, within about ten; of several positions
     * that it changed meanwhile, in the order that they were opened in. After the ledger could not be read, or where an
     * account had very many changes, positions that were both opened and closed meanwhile may be left out.
     * Where more than 1024 updates wait for a slow reader, it gets the newest of each position instead, a closed one
     * included; `seq` shows the gap. Where even they are more than 1024, it gets a new snapshot, which says nothing of
     * those that have ended: ListPositions does.
     * Errors: SERVER_002 (the ledger cannot be read).
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, entasis.portfolio.v1.StreamPositionsResponse>
        streamPositions(entasis.portfolio.v1.StreamPositionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getStreamPositionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetBalance returns what the account has, by currency.
     * </pre>
     */
    public entasis.portfolio.v1.GetBalanceResponse getBalance(entasis.portfolio.v1.GetBalanceRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetBalanceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListTrades returns the account's fills, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListTradesResponse listTrades(entasis.portfolio.v1.ListTradesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListTradesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListLedgerEntries returns the changes of the account's balances, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListLedgerEntriesResponse listLedgerEntries(entasis.portfolio.v1.ListLedgerEntriesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListLedgerEntriesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service PortfolioService.
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public static final class PortfolioServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<PortfolioServiceBlockingStub> {
    private PortfolioServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected PortfolioServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new PortfolioServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListPositions returns the account's positions, oldest first.
     * Errors: REQUEST_001 (status, page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListPositionsResponse listPositions(entasis.portfolio.v1.ListPositionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListPositionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetPosition returns one position.
     * Errors: PORT_003 (no such position).
     * </pre>
     */
    public entasis.portfolio.v1.GetPositionResponse getPosition(entasis.portfolio.v1.GetPositionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetPositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * CreatePosition opens a position at the price that walking the order book gives, or at the last price where there is
     * no book. Over REST it answers 201.
     * Errors: MARKET_001 (symbol), MARKET_002 (no live price), PORT_001 (balance), PORT_002 (limits), REQUEST_001 (size,
     * type, leverage), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public entasis.portfolio.v1.CreatePositionResponse createPosition(entasis.portfolio.v1.CreatePositionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreatePositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ClosePosition closes a position, or a part of it, at the price that walking the order book gives.
     * Errors: MARKET_002 (no live price), PORT_003 (no such position), PORT_004 (not open, or less than `size` is),
     * REQUEST_001 (size), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public entasis.portfolio.v1.ClosePositionResponse closePosition(entasis.portfolio.v1.ClosePositionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getClosePositionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamPositions sends all open positions as they stand, and then what each position that changed is like, whoever
     * changed it: opened, smaller by a part that was closed, closed, liquidated, and at most twice a second what a new
     * price makes of an open one. Updates come in batches. Each is the whole position as GetPosition has it, and replaces
     * the one before. What befell a position in quick succession may come as one update, its last state: a position that
     * was opened and closed at once is told as closed alone. ListTrades has each fill.
     * Changes of one position come in order. Changes that another engine made on the same ledger come within about a
     * second, or, should the clocks of the two differ by more than half a minute, within about ten; of several positions
     * that it changed meanwhile, in the order that they were opened in. After the ledger could not be read, or where an
     * account had very many changes, positions that were both opened and closed meanwhile may be left out.
     * Where more than 1024 updates wait for a slow reader, it gets the newest of each position instead, a closed one
     * included; `seq` shows the gap. Where even they are more than 1024, it gets a new snapshot, which says nothing of
     * those that have ended: ListPositions does.
     * Errors: SERVER_002 (the ledger cannot be read).
     * </pre>
     */
    public java.util.Iterator<entasis.portfolio.v1.StreamPositionsResponse> streamPositions(
        entasis.portfolio.v1.StreamPositionsRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getStreamPositionsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetBalance returns what the account has, by currency.
     * </pre>
     */
    public entasis.portfolio.v1.GetBalanceResponse getBalance(entasis.portfolio.v1.GetBalanceRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetBalanceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListTrades returns the account's fills, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListTradesResponse listTrades(entasis.portfolio.v1.ListTradesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListTradesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListLedgerEntries returns the changes of the account's balances, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public entasis.portfolio.v1.ListLedgerEntriesResponse listLedgerEntries(entasis.portfolio.v1.ListLedgerEntriesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListLedgerEntriesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service PortfolioService.
   * <pre>
   * PortfolioService opens and closes positions on paper, at the market's price, and tells what an account has. It always
   * speaks of the caller's own account: another account's position does not exist for the caller.
   * Writes take the header `Idempotency-Key` (gRPC: metadata of that name in lower case), 1 to 128 printable ASCII
   * characters: within 24 hours the same key with the same request gets the first answer again, with the header
   * `idempotency-replayed: true`; with another request it is REQUEST_005.
   * Sizes are in base currency, prices and money in quote currency, all decimal strings.
   * </pre>
   */
  public static final class PortfolioServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<PortfolioServiceFutureStub> {
    private PortfolioServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected PortfolioServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new PortfolioServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * ListPositions returns the account's positions, oldest first.
     * Errors: REQUEST_001 (status, page_token).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.ListPositionsResponse> listPositions(
        entasis.portfolio.v1.ListPositionsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListPositionsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetPosition returns one position.
     * Errors: PORT_003 (no such position).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.GetPositionResponse> getPosition(
        entasis.portfolio.v1.GetPositionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetPositionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * CreatePosition opens a position at the price that walking the order book gives, or at the last price where there is
     * no book. Over REST it answers 201.
     * Errors: MARKET_001 (symbol), MARKET_002 (no live price), PORT_001 (balance), PORT_002 (limits), REQUEST_001 (size,
     * type, leverage), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.CreatePositionResponse> createPosition(
        entasis.portfolio.v1.CreatePositionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreatePositionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ClosePosition closes a position, or a part of it, at the price that walking the order book gives.
     * Errors: MARKET_002 (no live price), PORT_003 (no such position), PORT_004 (not open, or less than `size` is),
     * REQUEST_001 (size), REQUEST_005 (idempotency key used for another request).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.ClosePositionResponse> closePosition(
        entasis.portfolio.v1.ClosePositionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getClosePositionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetBalance returns what the account has, by currency.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.GetBalanceResponse> getBalance(
        entasis.portfolio.v1.GetBalanceRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetBalanceMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListTrades returns the account's fills, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.ListTradesResponse> listTrades(
        entasis.portfolio.v1.ListTradesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListTradesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListLedgerEntries returns the changes of the account's balances, newest first.
     * Errors: REQUEST_001 (page_token).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.portfolio.v1.ListLedgerEntriesResponse> listLedgerEntries(
        entasis.portfolio.v1.ListLedgerEntriesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListLedgerEntriesMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_LIST_POSITIONS = 0;
  private static final int METHODID_GET_POSITION = 1;
  private static final int METHODID_CREATE_POSITION = 2;
  private static final int METHODID_CLOSE_POSITION = 3;
  private static final int METHODID_STREAM_POSITIONS = 4;
  private static final int METHODID_GET_BALANCE = 5;
  private static final int METHODID_LIST_TRADES = 6;
  private static final int METHODID_LIST_LEDGER_ENTRIES = 7;

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
        case METHODID_LIST_POSITIONS:
          serviceImpl.listPositions((entasis.portfolio.v1.ListPositionsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListPositionsResponse>) responseObserver);
          break;
        case METHODID_GET_POSITION:
          serviceImpl.getPosition((entasis.portfolio.v1.GetPositionRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetPositionResponse>) responseObserver);
          break;
        case METHODID_CREATE_POSITION:
          serviceImpl.createPosition((entasis.portfolio.v1.CreatePositionRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.CreatePositionResponse>) responseObserver);
          break;
        case METHODID_CLOSE_POSITION:
          serviceImpl.closePosition((entasis.portfolio.v1.ClosePositionRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.ClosePositionResponse>) responseObserver);
          break;
        case METHODID_STREAM_POSITIONS:
          serviceImpl.streamPositions((entasis.portfolio.v1.StreamPositionsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.StreamPositionsResponse>) responseObserver);
          break;
        case METHODID_GET_BALANCE:
          serviceImpl.getBalance((entasis.portfolio.v1.GetBalanceRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.GetBalanceResponse>) responseObserver);
          break;
        case METHODID_LIST_TRADES:
          serviceImpl.listTrades((entasis.portfolio.v1.ListTradesRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListTradesResponse>) responseObserver);
          break;
        case METHODID_LIST_LEDGER_ENTRIES:
          serviceImpl.listLedgerEntries((entasis.portfolio.v1.ListLedgerEntriesRequest) request,
              (io.grpc.stub.StreamObserver<entasis.portfolio.v1.ListLedgerEntriesResponse>) responseObserver);
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
          getListPositionsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.ListPositionsRequest,
              entasis.portfolio.v1.ListPositionsResponse>(
                service, METHODID_LIST_POSITIONS)))
        .addMethod(
          getGetPositionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.GetPositionRequest,
              entasis.portfolio.v1.GetPositionResponse>(
                service, METHODID_GET_POSITION)))
        .addMethod(
          getCreatePositionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.CreatePositionRequest,
              entasis.portfolio.v1.CreatePositionResponse>(
                service, METHODID_CREATE_POSITION)))
        .addMethod(
          getClosePositionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.ClosePositionRequest,
              entasis.portfolio.v1.ClosePositionResponse>(
                service, METHODID_CLOSE_POSITION)))
        .addMethod(
          getStreamPositionsMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              entasis.portfolio.v1.StreamPositionsRequest,
              entasis.portfolio.v1.StreamPositionsResponse>(
                service, METHODID_STREAM_POSITIONS)))
        .addMethod(
          getGetBalanceMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.GetBalanceRequest,
              entasis.portfolio.v1.GetBalanceResponse>(
                service, METHODID_GET_BALANCE)))
        .addMethod(
          getListTradesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.ListTradesRequest,
              entasis.portfolio.v1.ListTradesResponse>(
                service, METHODID_LIST_TRADES)))
        .addMethod(
          getListLedgerEntriesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.portfolio.v1.ListLedgerEntriesRequest,
              entasis.portfolio.v1.ListLedgerEntriesResponse>(
                service, METHODID_LIST_LEDGER_ENTRIES)))
        .build();
  }

  private static abstract class PortfolioServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    PortfolioServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return entasis.portfolio.v1.Portfolio.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("PortfolioService");
    }
  }

  private static final class PortfolioServiceFileDescriptorSupplier
      extends PortfolioServiceBaseDescriptorSupplier {
    PortfolioServiceFileDescriptorSupplier() {}
  }

  private static final class PortfolioServiceMethodDescriptorSupplier
      extends PortfolioServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    PortfolioServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (PortfolioServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new PortfolioServiceFileDescriptorSupplier())
              .addMethod(getListPositionsMethod())
              .addMethod(getGetPositionMethod())
              .addMethod(getCreatePositionMethod())
              .addMethod(getClosePositionMethod())
              .addMethod(getStreamPositionsMethod())
              .addMethod(getGetBalanceMethod())
              .addMethod(getListTradesMethod())
              .addMethod(getListLedgerEntriesMethod())
              .build();
        }
      }
    }
    return result;
  }
}
