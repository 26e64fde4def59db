package entasis.market.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * MarketService serves prices, order books and candles of the listed instruments.
 * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
 * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
 * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class MarketServiceGrpc {

  private MarketServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "entasis.market.v1.MarketService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.GetPriceRequest,
      entasis.market.v1.GetPriceResponse> getGetPriceMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetPrice",
      requestType = entasis.market.v1.GetPriceRequest.class,
      responseType = entasis.market.v1.GetPriceResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.market.v1.GetPriceRequest,
      entasis.market.v1.GetPriceResponse> getGetPriceMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.GetPriceRequest, entasis.market.v1.GetPriceResponse> getGetPriceMethod;
    if ((getGetPriceMethod = MarketServiceGrpc.getGetPriceMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getGetPriceMethod = MarketServiceGrpc.getGetPriceMethod) == null) {
          MarketServiceGrpc.getGetPriceMethod = getGetPriceMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.GetPriceRequest, entasis.market.v1.GetPriceResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetPrice"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetPriceRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetPriceResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("GetPrice"))
              .build();
        }
      }
    }
    return getGetPriceMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.ListPricesRequest,
      entasis.market.v1.ListPricesResponse> getListPricesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListPrices",
      requestType = entasis.market.v1.ListPricesRequest.class,
      responseType = entasis.market.v1.ListPricesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.market.v1.ListPricesRequest,
      entasis.market.v1.ListPricesResponse> getListPricesMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.ListPricesRequest, entasis.market.v1.ListPricesResponse> getListPricesMethod;
    if ((getListPricesMethod = MarketServiceGrpc.getListPricesMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getListPricesMethod = MarketServiceGrpc.getListPricesMethod) == null) {
          MarketServiceGrpc.getListPricesMethod = getListPricesMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.ListPricesRequest, entasis.market.v1.ListPricesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListPrices"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.ListPricesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.ListPricesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("ListPrices"))
              .build();
        }
      }
    }
    return getListPricesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.GetHistoryRequest,
      entasis.market.v1.GetHistoryResponse> getGetHistoryMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetHistory",
      requestType = entasis.market.v1.GetHistoryRequest.class,
      responseType = entasis.market.v1.GetHistoryResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.market.v1.GetHistoryRequest,
      entasis.market.v1.GetHistoryResponse> getGetHistoryMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.GetHistoryRequest, entasis.market.v1.GetHistoryResponse> getGetHistoryMethod;
    if ((getGetHistoryMethod = MarketServiceGrpc.getGetHistoryMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getGetHistoryMethod = MarketServiceGrpc.getGetHistoryMethod) == null) {
          MarketServiceGrpc.getGetHistoryMethod = getGetHistoryMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.GetHistoryRequest, entasis.market.v1.GetHistoryResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetHistory"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetHistoryRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetHistoryResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("GetHistory"))
              .build();
        }
      }
    }
    return getGetHistoryMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.GetOrderBookRequest,
      entasis.market.v1.GetOrderBookResponse> getGetOrderBookMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetOrderBook",
      requestType = entasis.market.v1.GetOrderBookRequest.class,
      responseType = entasis.market.v1.GetOrderBookResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.market.v1.GetOrderBookRequest,
      entasis.market.v1.GetOrderBookResponse> getGetOrderBookMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.GetOrderBookRequest, entasis.market.v1.GetOrderBookResponse> getGetOrderBookMethod;
    if ((getGetOrderBookMethod = MarketServiceGrpc.getGetOrderBookMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getGetOrderBookMethod = MarketServiceGrpc.getGetOrderBookMethod) == null) {
          MarketServiceGrpc.getGetOrderBookMethod = getGetOrderBookMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.GetOrderBookRequest, entasis.market.v1.GetOrderBookResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetOrderBook"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetOrderBookRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.GetOrderBookResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("GetOrderBook"))
              .build();
        }
      }
    }
    return getGetOrderBookMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.ListInstrumentsRequest,
      entasis.market.v1.ListInstrumentsResponse> getListInstrumentsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListInstruments",
      requestType = entasis.market.v1.ListInstrumentsRequest.class,
      responseType = entasis.market.v1.ListInstrumentsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.market.v1.ListInstrumentsRequest,
      entasis.market.v1.ListInstrumentsResponse> getListInstrumentsMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.ListInstrumentsRequest, entasis.market.v1.ListInstrumentsResponse> getListInstrumentsMethod;
    if ((getListInstrumentsMethod = MarketServiceGrpc.getListInstrumentsMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getListInstrumentsMethod = MarketServiceGrpc.getListInstrumentsMethod) == null) {
          MarketServiceGrpc.getListInstrumentsMethod = getListInstrumentsMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.ListInstrumentsRequest, entasis.market.v1.ListInstrumentsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListInstruments"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.ListInstrumentsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.ListInstrumentsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("ListInstruments"))
              .build();
        }
      }
    }
    return getListInstrumentsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.StreamPricesRequest,
      entasis.market.v1.StreamPricesResponse> getStreamPricesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StreamPrices",
      requestType = entasis.market.v1.StreamPricesRequest.class,
      responseType = entasis.market.v1.StreamPricesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<entasis.market.v1.StreamPricesRequest,
      entasis.market.v1.StreamPricesResponse> getStreamPricesMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.StreamPricesRequest, entasis.market.v1.StreamPricesResponse> getStreamPricesMethod;
    if ((getStreamPricesMethod = MarketServiceGrpc.getStreamPricesMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getStreamPricesMethod = MarketServiceGrpc.getStreamPricesMethod) == null) {
          MarketServiceGrpc.getStreamPricesMethod = getStreamPricesMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.StreamPricesRequest, entasis.market.v1.StreamPricesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StreamPrices"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamPricesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamPricesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("StreamPrices"))
              .build();
        }
      }
    }
    return getStreamPricesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.StreamOrderBooksRequest,
      entasis.market.v1.StreamOrderBooksResponse> getStreamOrderBooksMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StreamOrderBooks",
      requestType = entasis.market.v1.StreamOrderBooksRequest.class,
      responseType = entasis.market.v1.StreamOrderBooksResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<entasis.market.v1.StreamOrderBooksRequest,
      entasis.market.v1.StreamOrderBooksResponse> getStreamOrderBooksMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.StreamOrderBooksRequest, entasis.market.v1.StreamOrderBooksResponse> getStreamOrderBooksMethod;
    if ((getStreamOrderBooksMethod = MarketServiceGrpc.getStreamOrderBooksMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getStreamOrderBooksMethod = MarketServiceGrpc.getStreamOrderBooksMethod) == null) {
          MarketServiceGrpc.getStreamOrderBooksMethod = getStreamOrderBooksMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.StreamOrderBooksRequest, entasis.market.v1.StreamOrderBooksResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StreamOrderBooks"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamOrderBooksRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamOrderBooksResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("StreamOrderBooks"))
              .build();
        }
      }
    }
    return getStreamOrderBooksMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.market.v1.StreamCandlesRequest,
      entasis.market.v1.StreamCandlesResponse> getStreamCandlesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StreamCandles",
      requestType = entasis.market.v1.StreamCandlesRequest.class,
      responseType = entasis.market.v1.StreamCandlesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<entasis.market.v1.StreamCandlesRequest,
      entasis.market.v1.StreamCandlesResponse> getStreamCandlesMethod() {
    io.grpc.MethodDescriptor<entasis.market.v1.StreamCandlesRequest, entasis.market.v1.StreamCandlesResponse> getStreamCandlesMethod;
    if ((getStreamCandlesMethod = MarketServiceGrpc.getStreamCandlesMethod) == null) {
      synchronized (MarketServiceGrpc.class) {
        if ((getStreamCandlesMethod = MarketServiceGrpc.getStreamCandlesMethod) == null) {
          MarketServiceGrpc.getStreamCandlesMethod = getStreamCandlesMethod =
              io.grpc.MethodDescriptor.<entasis.market.v1.StreamCandlesRequest, entasis.market.v1.StreamCandlesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StreamCandles"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamCandlesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.market.v1.StreamCandlesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new MarketServiceMethodDescriptorSupplier("StreamCandles"))
              .build();
        }
      }
    }
    return getStreamCandlesMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static MarketServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<MarketServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<MarketServiceStub>() {
        @java.lang.Override
        public MarketServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new MarketServiceStub(channel, callOptions);
        }
      };
    return MarketServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static MarketServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<MarketServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<MarketServiceBlockingV2Stub>() {
        @java.lang.Override
        public MarketServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new MarketServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return MarketServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static MarketServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<MarketServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<MarketServiceBlockingStub>() {
        @java.lang.Override
        public MarketServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new MarketServiceBlockingStub(channel, callOptions);
        }
      };
    return MarketServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static MarketServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<MarketServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<MarketServiceFutureStub>() {
        @java.lang.Override
        public MarketServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new MarketServiceFutureStub(channel, callOptions);
        }
      };
    return MarketServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * GetPrice returns the last traded price of one instrument, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale).
     * </pre>
     */
    default void getPrice(entasis.market.v1.GetPriceRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetPriceResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetPriceMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListPrices returns the last traded prices of several instruments. A symbol that has no price to give does not spoil
     * the rest: it is named in `failures`.
     * Errors: MARKET_001 (a symbol is malformed).
     * </pre>
     */
    default void listPrices(entasis.market.v1.ListPricesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.ListPricesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListPricesMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetHistory returns closed candles of one instrument, oldest first, one page at a time.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (no candle is there yet and history is still being
     * fetched, after a start), REQUEST_001 (interval, start, end or page_token).
     * </pre>
     */
    default void getHistory(entasis.market.v1.GetHistoryRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetHistoryResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetHistoryMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetOrderBook returns the best levels of one instrument's order book, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale, or no book yet),
     * REQUEST_001 (depth).
     * </pre>
     */
    default void getOrderBook(entasis.market.v1.GetOrderBookRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetOrderBookResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetOrderBookMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListInstruments returns every listed instrument with its steps and limits, by symbol: what may be streamed without
     * credentials may be listed without them.
     * </pre>
     */
    default void listInstruments(entasis.market.v1.ListInstrumentsRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.ListInstrumentsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListInstrumentsMethod(), responseObserver);
    }

    /**
     * <pre>
     * StreamPrices sends a snapshot (the last trade of each symbol) and then every trade, in batches.
     * A reader that falls more than 1024 updates behind gets the newest of each symbol instead; `seq` shows the gap.
     * Errors: MARKET_001 (a symbol is malformed or not listed).
     * </pre>
     */
    default void streamPrices(entasis.market.v1.StreamPricesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamPricesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStreamPricesMethod(), responseObserver);
    }

    /**
     * <pre>
     * StreamOrderBooks sends the best levels of each symbol's book, first as they stand and then at each change, in
     * batches. Every book replaces the one before; a slow reader gets only the newest of each symbol.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (depth).
     * </pre>
     */
    default void streamOrderBooks(entasis.market.v1.StreamOrderBooksRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamOrderBooksResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStreamOrderBooksMethod(), responseObserver);
    }

    /**
     * <pre>
     * StreamCandles sends the candle in progress of each symbol, first as it stands and then at each change, and each
     * candle once more when it closes, in batches. A slow reader gets the newest state of each candle.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (interval).
     * </pre>
     */
    default void streamCandles(entasis.market.v1.StreamCandlesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamCandlesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStreamCandlesMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service MarketService.
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public static abstract class MarketServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return MarketServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service MarketService.
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public static final class MarketServiceStub
      extends io.grpc.stub.AbstractAsyncStub<MarketServiceStub> {
    private MarketServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected MarketServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new MarketServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrice returns the last traded price of one instrument, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale).
     * </pre>
     */
    public void getPrice(entasis.market.v1.GetPriceRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetPriceResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetPriceMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListPrices returns the last traded prices of several instruments. A symbol that has no price to give does not spoil
     * the rest: it is named in `failures`.
     * Errors: MARKET_001 (a symbol is malformed).
     * </pre>
     */
    public void listPrices(entasis.market.v1.ListPricesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.ListPricesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListPricesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetHistory returns closed candles of one instrument, oldest first, one page at a time.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (no candle is there yet and history is still being
     * fetched, after a start), REQUEST_001 (interval, start, end or page_token).
     * </pre>
     */
    public void getHistory(entasis.market.v1.GetHistoryRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetHistoryResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetHistoryMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetOrderBook returns the best levels of one instrument's order book, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale, or no book yet),
     * REQUEST_001 (depth).
     * </pre>
     */
    public void getOrderBook(entasis.market.v1.GetOrderBookRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.GetOrderBookResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetOrderBookMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListInstruments returns every listed instrument with its steps and limits, by symbol: what may be streamed without
     * credentials may be listed without them.
     * </pre>
     */
    public void listInstruments(entasis.market.v1.ListInstrumentsRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.ListInstrumentsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListInstrumentsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * StreamPrices sends a snapshot (the last trade of each symbol) and then every trade, in batches.
     * A reader that falls more than 1024 updates behind gets the newest of each symbol instead; `seq` shows the gap.
     * Errors: MARKET_001 (a symbol is malformed or not listed).
     * </pre>
     */
    public void streamPrices(entasis.market.v1.StreamPricesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamPricesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getStreamPricesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * StreamOrderBooks sends the best levels of each symbol's book, first as they stand and then at each change, in
     * batches. Every book replaces the one before; a slow reader gets only the newest of each symbol.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (depth).
     * </pre>
     */
    public void streamOrderBooks(entasis.market.v1.StreamOrderBooksRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamOrderBooksResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getStreamOrderBooksMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * StreamCandles sends the candle in progress of each symbol, first as it stands and then at each change, and each
     * candle once more when it closes, in batches. A slow reader gets the newest state of each candle.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (interval).
     * </pre>
     */
    public void streamCandles(entasis.market.v1.StreamCandlesRequest request,
        io.grpc.stub.StreamObserver<entasis.market.v1.StreamCandlesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getStreamCandlesMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service MarketService.
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public static final class MarketServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<MarketServiceBlockingV2Stub> {
    private MarketServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected MarketServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new MarketServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrice returns the last traded price of one instrument, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale).
     * </pre>
     */
    public entasis.market.v1.GetPriceResponse getPrice(entasis.market.v1.GetPriceRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetPriceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListPrices returns the last traded prices of several instruments. A symbol that has no price to give does not spoil
     * the rest: it is named in `failures`.
     * Errors: MARKET_001 (a symbol is malformed).
     * </pre>
     */
    public entasis.market.v1.ListPricesResponse listPrices(entasis.market.v1.ListPricesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListPricesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetHistory returns closed candles of one instrument, oldest first, one page at a time.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (no candle is there yet and history is still being
     * fetched, after a start), REQUEST_001 (interval, start, end or page_token).
     * </pre>
     */
    public entasis.market.v1.GetHistoryResponse getHistory(entasis.market.v1.GetHistoryRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetHistoryMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetOrderBook returns the best levels of one instrument's order book, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale, or no book yet),
     * REQUEST_001 (depth).
     * </pre>
     */
    public entasis.market.v1.GetOrderBookResponse getOrderBook(entasis.market.v1.GetOrderBookRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetOrderBookMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListInstruments returns every listed instrument with its steps and limits, by symbol: what may be streamed without
     * credentials may be listed without them.
     * </pre>
     */
    public entasis.market.v1.ListInstrumentsResponse listInstruments(entasis.market.v1.ListInstrumentsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListInstrumentsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamPrices sends a snapshot (the last trade of each symbol) and then every trade, in batches.
     * A reader that falls more than 1024 updates behind gets the newest of each symbol instead; `seq` shows the gap.
     * Errors: MARKET_001 (a symbol is malformed or not listed).
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, entasis.market.v1.StreamPricesResponse>
        streamPrices(entasis.market.v1.StreamPricesRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getStreamPricesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamOrderBooks sends the best levels of each symbol's book, first as they stand and then at each change, in
     * batches. Every book replaces the one before; a slow reader gets only the newest of each symbol.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (depth).
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, entasis.market.v1.StreamOrderBooksResponse>
        streamOrderBooks(entasis.market.v1.StreamOrderBooksRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getStreamOrderBooksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamCandles sends the candle in progress of each symbol, first as it stands and then at each change, and each
     * candle once more when it closes, in batches. A slow reader gets the newest state of each candle.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (interval).
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, entasis.market.v1.StreamCandlesResponse>
        streamCandles(entasis.market.v1.StreamCandlesRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getStreamCandlesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service MarketService.
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public static final class MarketServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<MarketServiceBlockingStub> {
    private MarketServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected MarketServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new MarketServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrice returns the last traded price of one instrument, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale).
     * </pre>
     */
    public entasis.market.v1.GetPriceResponse getPrice(entasis.market.v1.GetPriceRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetPriceMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListPrices returns the last traded prices of several instruments. A symbol that has no price to give does not spoil
     * the rest: it is named in `failures`.
     * Errors: MARKET_001 (a symbol is malformed).
     * </pre>
     */
    public entasis.market.v1.ListPricesResponse listPrices(entasis.market.v1.ListPricesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListPricesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetHistory returns closed candles of one instrument, oldest first, one page at a time.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (no candle is there yet and history is still being
     * fetched, after a start), REQUEST_001 (interval, start, end or page_token).
     * </pre>
     */
    public entasis.market.v1.GetHistoryResponse getHistory(entasis.market.v1.GetHistoryRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetHistoryMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetOrderBook returns the best levels of one instrument's order book, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale, or no book yet),
     * REQUEST_001 (depth).
     * </pre>
     */
    public entasis.market.v1.GetOrderBookResponse getOrderBook(entasis.market.v1.GetOrderBookRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetOrderBookMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListInstruments returns every listed instrument with its steps and limits, by symbol: what may be streamed without
     * credentials may be listed without them.
     * </pre>
     */
    public entasis.market.v1.ListInstrumentsResponse listInstruments(entasis.market.v1.ListInstrumentsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListInstrumentsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamPrices sends a snapshot (the last trade of each symbol) and then every trade, in batches.
     * A reader that falls more than 1024 updates behind gets the newest of each symbol instead; `seq` shows the gap.
     * Errors: MARKET_001 (a symbol is malformed or not listed).
     * </pre>
     */
    public java.util.Iterator<entasis.market.v1.StreamPricesResponse> streamPrices(
        entasis.market.v1.StreamPricesRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getStreamPricesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamOrderBooks sends the best levels of each symbol's book, first as they stand and then at each change, in
     * batches. Every book replaces the one before; a slow reader gets only the newest of each symbol.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (depth).
     * </pre>
     */
    public java.util.Iterator<entasis.market.v1.StreamOrderBooksResponse> streamOrderBooks(
        entasis.market.v1.StreamOrderBooksRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getStreamOrderBooksMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * StreamCandles sends the candle in progress of each symbol, first as it stands and then at each change, and each
     * candle once more when it closes, in batches. A slow reader gets the newest state of each candle.
     * Errors: MARKET_001 (a symbol is malformed or not listed), REQUEST_001 (interval).
     * </pre>
     */
    public java.util.Iterator<entasis.market.v1.StreamCandlesResponse> streamCandles(
        entasis.market.v1.StreamCandlesRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getStreamCandlesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service MarketService.
   * <pre>
   * MarketService serves prices, order books and candles of the listed instruments.
   * Conventions: a symbol is `BASE-QUOTE` in capitals (`BTC-USDT`). Prices, sizes and volumes are decimal strings without
   * exponent; prices carry at least the instrument's quote scale (`65432.10`). Times are UTC with millisecond resolution.
   * Errors carry a `google.rpc.ErrorInfo` whose reason is one of `entasis.errors.v1.ErrorReason`.
   * </pre>
   */
  public static final class MarketServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<MarketServiceFutureStub> {
    private MarketServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected MarketServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new MarketServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrice returns the last traded price of one instrument, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.market.v1.GetPriceResponse> getPrice(
        entasis.market.v1.GetPriceRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetPriceMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListPrices returns the last traded prices of several instruments. A symbol that has no price to give does not spoil
     * the rest: it is named in `failures`.
     * Errors: MARKET_001 (a symbol is malformed).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.market.v1.ListPricesResponse> listPrices(
        entasis.market.v1.ListPricesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListPricesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetHistory returns closed candles of one instrument, oldest first, one page at a time.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (no candle is there yet and history is still being
     * fetched, after a start), REQUEST_001 (interval, start, end or page_token).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.market.v1.GetHistoryResponse> getHistory(
        entasis.market.v1.GetHistoryRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetHistoryMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetOrderBook returns the best levels of one instrument's order book, from memory.
     * Errors: MARKET_001 (symbol malformed or not listed), MARKET_002 (feed down or stale, or no book yet),
     * REQUEST_001 (depth).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.market.v1.GetOrderBookResponse> getOrderBook(
        entasis.market.v1.GetOrderBookRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetOrderBookMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListInstruments returns every listed instrument with its steps and limits, by symbol: what may be streamed without
     * credentials may be listed without them.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.market.v1.ListInstrumentsResponse> listInstruments(
        entasis.market.v1.ListInstrumentsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListInstrumentsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_PRICE = 0;
  private static final int METHODID_LIST_PRICES = 1;
  private static final int METHODID_GET_HISTORY = 2;
  private static final int METHODID_GET_ORDER_BOOK = 3;
  private static final int METHODID_LIST_INSTRUMENTS = 4;
  private static final int METHODID_STREAM_PRICES = 5;
  private static final int METHODID_STREAM_ORDER_BOOKS = 6;
  private static final int METHODID_STREAM_CANDLES = 7;

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
        case METHODID_GET_PRICE:
          serviceImpl.getPrice((entasis.market.v1.GetPriceRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.GetPriceResponse>) responseObserver);
          break;
        case METHODID_LIST_PRICES:
          serviceImpl.listPrices((entasis.market.v1.ListPricesRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.ListPricesResponse>) responseObserver);
          break;
        case METHODID_GET_HISTORY:
          serviceImpl.getHistory((entasis.market.v1.GetHistoryRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.GetHistoryResponse>) responseObserver);
          break;
        case METHODID_GET_ORDER_BOOK:
          serviceImpl.getOrderBook((entasis.market.v1.GetOrderBookRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.GetOrderBookResponse>) responseObserver);
          break;
        case METHODID_LIST_INSTRUMENTS:
          serviceImpl.listInstruments((entasis.market.v1.ListInstrumentsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.ListInstrumentsResponse>) responseObserver);
          break;
        case METHODID_STREAM_PRICES:
          serviceImpl.streamPrices((entasis.market.v1.StreamPricesRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.StreamPricesResponse>) responseObserver);
          break;
        case METHODID_STREAM_ORDER_BOOKS:
          serviceImpl.streamOrderBooks((entasis.market.v1.StreamOrderBooksRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.StreamOrderBooksResponse>) responseObserver);
          break;
        case METHODID_STREAM_CANDLES:
          serviceImpl.streamCandles((entasis.market.v1.StreamCandlesRequest) request,
              (io.grpc.stub.StreamObserver<entasis.market.v1.StreamCandlesResponse>) responseObserver);
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
          getGetPriceMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.market.v1.GetPriceRequest,
              entasis.market.v1.GetPriceResponse>(
                service, METHODID_GET_PRICE)))
        .addMethod(
          getListPricesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.market.v1.ListPricesRequest,
              entasis.market.v1.ListPricesResponse>(
                service, METHODID_LIST_PRICES)))
        .addMethod(
          getGetHistoryMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.market.v1.GetHistoryRequest,
              entasis.market.v1.GetHistoryResponse>(
                service, METHODID_GET_HISTORY)))
        .addMethod(
          getGetOrderBookMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.market.v1.GetOrderBookRequest,
              entasis.market.v1.GetOrderBookResponse>(
                service, METHODID_GET_ORDER_BOOK)))
        .addMethod(
          getListInstrumentsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.market.v1.ListInstrumentsRequest,
              entasis.market.v1.ListInstrumentsResponse>(
                service, METHODID_LIST_INSTRUMENTS)))
        .addMethod(
          getStreamPricesMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              entasis.market.v1.StreamPricesRequest,
              entasis.market.v1.StreamPricesResponse>(
                service, METHODID_STREAM_PRICES)))
        .addMethod(
          getStreamOrderBooksMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              entasis.market.v1.StreamOrderBooksRequest,
              entasis.market.v1.StreamOrderBooksResponse>(
                service, METHODID_STREAM_ORDER_BOOKS)))
        .addMethod(
          getStreamCandlesMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              entasis.market.v1.StreamCandlesRequest,
              entasis.market.v1.StreamCandlesResponse>(
                service, METHODID_STREAM_CANDLES)))
        .build();
  }

  private static abstract class MarketServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    MarketServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return entasis.market.v1.Market.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("MarketService");
    }
  }

  private static final class MarketServiceFileDescriptorSupplier
      extends MarketServiceBaseDescriptorSupplier {
    MarketServiceFileDescriptorSupplier() {}
  }

  private static final class MarketServiceMethodDescriptorSupplier
      extends MarketServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    MarketServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (MarketServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new MarketServiceFileDescriptorSupplier())
              .addMethod(getGetPriceMethod())
              .addMethod(getListPricesMethod())
              .addMethod(getGetHistoryMethod())
              .addMethod(getGetOrderBookMethod())
              .addMethod(getListInstrumentsMethod())
              .addMethod(getStreamPricesMethod())
              .addMethod(getStreamOrderBooksMethod())
              .addMethod(getStreamCandlesMethod())
              .build();
        }
      }
    }
    return result;
  }
}
