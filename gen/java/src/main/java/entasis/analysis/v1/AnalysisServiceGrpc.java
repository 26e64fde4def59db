package entasis.analysis.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
 * candles, once for each hour; what is asked again within the hour is answered from memory.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class AnalysisServiceGrpc {

  private AnalysisServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "entasis.analysis.v1.AnalysisService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<entasis.analysis.v1.GetPredictionRequest,
      entasis.analysis.v1.GetPredictionResponse> getGetPredictionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetPrediction",
      requestType = entasis.analysis.v1.GetPredictionRequest.class,
      responseType = entasis.analysis.v1.GetPredictionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.analysis.v1.GetPredictionRequest,
      entasis.analysis.v1.GetPredictionResponse> getGetPredictionMethod() {
    io.grpc.MethodDescriptor<entasis.analysis.v1.GetPredictionRequest, entasis.analysis.v1.GetPredictionResponse> getGetPredictionMethod;
    if ((getGetPredictionMethod = AnalysisServiceGrpc.getGetPredictionMethod) == null) {
      synchronized (AnalysisServiceGrpc.class) {
        if ((getGetPredictionMethod = AnalysisServiceGrpc.getGetPredictionMethod) == null) {
          AnalysisServiceGrpc.getGetPredictionMethod = getGetPredictionMethod =
              io.grpc.MethodDescriptor.<entasis.analysis.v1.GetPredictionRequest, entasis.analysis.v1.GetPredictionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetPrediction"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetPredictionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetPredictionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AnalysisServiceMethodDescriptorSupplier("GetPrediction"))
              .build();
        }
      }
    }
    return getGetPredictionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.analysis.v1.GetRiskRequest,
      entasis.analysis.v1.GetRiskResponse> getGetRiskMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetRisk",
      requestType = entasis.analysis.v1.GetRiskRequest.class,
      responseType = entasis.analysis.v1.GetRiskResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.analysis.v1.GetRiskRequest,
      entasis.analysis.v1.GetRiskResponse> getGetRiskMethod() {
    io.grpc.MethodDescriptor<entasis.analysis.v1.GetRiskRequest, entasis.analysis.v1.GetRiskResponse> getGetRiskMethod;
    if ((getGetRiskMethod = AnalysisServiceGrpc.getGetRiskMethod) == null) {
      synchronized (AnalysisServiceGrpc.class) {
        if ((getGetRiskMethod = AnalysisServiceGrpc.getGetRiskMethod) == null) {
          AnalysisServiceGrpc.getGetRiskMethod = getGetRiskMethod =
              io.grpc.MethodDescriptor.<entasis.analysis.v1.GetRiskRequest, entasis.analysis.v1.GetRiskResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetRisk"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetRiskRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetRiskResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AnalysisServiceMethodDescriptorSupplier("GetRisk"))
              .build();
        }
      }
    }
    return getGetRiskMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.analysis.v1.GetPortfolioRiskRequest,
      entasis.analysis.v1.GetPortfolioRiskResponse> getGetPortfolioRiskMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetPortfolioRisk",
      requestType = entasis.analysis.v1.GetPortfolioRiskRequest.class,
      responseType = entasis.analysis.v1.GetPortfolioRiskResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.analysis.v1.GetPortfolioRiskRequest,
      entasis.analysis.v1.GetPortfolioRiskResponse> getGetPortfolioRiskMethod() {
    io.grpc.MethodDescriptor<entasis.analysis.v1.GetPortfolioRiskRequest, entasis.analysis.v1.GetPortfolioRiskResponse> getGetPortfolioRiskMethod;
    if ((getGetPortfolioRiskMethod = AnalysisServiceGrpc.getGetPortfolioRiskMethod) == null) {
      synchronized (AnalysisServiceGrpc.class) {
        if ((getGetPortfolioRiskMethod = AnalysisServiceGrpc.getGetPortfolioRiskMethod) == null) {
          AnalysisServiceGrpc.getGetPortfolioRiskMethod = getGetPortfolioRiskMethod =
              io.grpc.MethodDescriptor.<entasis.analysis.v1.GetPortfolioRiskRequest, entasis.analysis.v1.GetPortfolioRiskResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetPortfolioRisk"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetPortfolioRiskRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetPortfolioRiskResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AnalysisServiceMethodDescriptorSupplier("GetPortfolioRisk"))
              .build();
        }
      }
    }
    return getGetPortfolioRiskMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.analysis.v1.GetAccuracyRequest,
      entasis.analysis.v1.GetAccuracyResponse> getGetAccuracyMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetAccuracy",
      requestType = entasis.analysis.v1.GetAccuracyRequest.class,
      responseType = entasis.analysis.v1.GetAccuracyResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.analysis.v1.GetAccuracyRequest,
      entasis.analysis.v1.GetAccuracyResponse> getGetAccuracyMethod() {
    io.grpc.MethodDescriptor<entasis.analysis.v1.GetAccuracyRequest, entasis.analysis.v1.GetAccuracyResponse> getGetAccuracyMethod;
    if ((getGetAccuracyMethod = AnalysisServiceGrpc.getGetAccuracyMethod) == null) {
      synchronized (AnalysisServiceGrpc.class) {
        if ((getGetAccuracyMethod = AnalysisServiceGrpc.getGetAccuracyMethod) == null) {
          AnalysisServiceGrpc.getGetAccuracyMethod = getGetAccuracyMethod =
              io.grpc.MethodDescriptor.<entasis.analysis.v1.GetAccuracyRequest, entasis.analysis.v1.GetAccuracyResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetAccuracy"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetAccuracyRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.GetAccuracyResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AnalysisServiceMethodDescriptorSupplier("GetAccuracy"))
              .build();
        }
      }
    }
    return getGetAccuracyMethod;
  }

  private static volatile io.grpc.MethodDescriptor<entasis.analysis.v1.ListModelsRequest,
      entasis.analysis.v1.ListModelsResponse> getListModelsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListModels",
      requestType = entasis.analysis.v1.ListModelsRequest.class,
      responseType = entasis.analysis.v1.ListModelsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<entasis.analysis.v1.ListModelsRequest,
      entasis.analysis.v1.ListModelsResponse> getListModelsMethod() {
    io.grpc.MethodDescriptor<entasis.analysis.v1.ListModelsRequest, entasis.analysis.v1.ListModelsResponse> getListModelsMethod;
    if ((getListModelsMethod = AnalysisServiceGrpc.getListModelsMethod) == null) {
      synchronized (AnalysisServiceGrpc.class) {
        if ((getListModelsMethod = AnalysisServiceGrpc.getListModelsMethod) == null) {
          AnalysisServiceGrpc.getListModelsMethod = getListModelsMethod =
              io.grpc.MethodDescriptor.<entasis.analysis.v1.ListModelsRequest, entasis.analysis.v1.ListModelsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListModels"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.ListModelsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  entasis.analysis.v1.ListModelsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AnalysisServiceMethodDescriptorSupplier("ListModels"))
              .build();
        }
      }
    }
    return getListModelsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static AnalysisServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceStub>() {
        @java.lang.Override
        public AnalysisServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AnalysisServiceStub(channel, callOptions);
        }
      };
    return AnalysisServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static AnalysisServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceBlockingV2Stub>() {
        @java.lang.Override
        public AnalysisServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AnalysisServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return AnalysisServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static AnalysisServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceBlockingStub>() {
        @java.lang.Override
        public AnalysisServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AnalysisServiceBlockingStub(channel, callOptions);
        }
      };
    return AnalysisServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static AnalysisServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AnalysisServiceFutureStub>() {
        @java.lang.Override
        public AnalysisServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AnalysisServiceFutureStub(channel, callOptions);
        }
      };
    return AnalysisServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * GetPrediction returns the forecast of one instrument's close at the horizon. It is a median: as likely too high as
     * too low, and seldom far from the last price.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_001 (model
     * missing, damaged, in training or of a later time than the market's), AI_002 (no finite answer, or too little
     * history), REQUEST_001 (timeframe, model).
     * </pre>
     */
    default void getPrediction(entasis.analysis.v1.GetPredictionRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPredictionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetPredictionMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetRisk returns value at risk, expected shortfall and volatility of one instrument, from one estimator.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no
     * finite answer, or too little history).
     * </pre>
     */
    default void getRisk(entasis.analysis.v1.GetRiskRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetRiskResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetRiskMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetPortfolioRisk returns value at risk and expected shortfall of the account's open positions together, and what
     * each of them contributes. Positions in different quote currencies are not added up.
     * Errors: MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no finite answer, or too
     * little history).
     * </pre>
     */
    default void getPortfolioRisk(entasis.analysis.v1.GetPortfolioRiskRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPortfolioRiskResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetPortfolioRiskMethod(), responseObserver);
    }

    /**
     * <pre>
     * GetAccuracy returns how well the forecasts of one instrument have done: every forecast is kept, and scored when its
     * horizon has passed. The random walk, which says that the price stays as it is, is what they are measured against.
     * Errors: MARKET_001 (symbol), REQUEST_001 (timeframe, model, days).
     * </pre>
     */
    default void getAccuracy(entasis.analysis.v1.GetAccuracyRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetAccuracyResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetAccuracyMethod(), responseObserver);
    }

    /**
     * <pre>
     * ListModels returns the models that forecasts are made with, one for each horizon, and what a training is about.
     * </pre>
     */
    default void listModels(entasis.analysis.v1.ListModelsRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.ListModelsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListModelsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service AnalysisService.
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public static abstract class AnalysisServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return AnalysisServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service AnalysisService.
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public static final class AnalysisServiceStub
      extends io.grpc.stub.AbstractAsyncStub<AnalysisServiceStub> {
    private AnalysisServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AnalysisServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AnalysisServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrediction returns the forecast of one instrument's close at the horizon. It is a median: as likely too high as
     * too low, and seldom far from the last price.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_001 (model
     * missing, damaged, in training or of a later time than the market's), AI_002 (no finite answer, or too little
     * history), REQUEST_001 (timeframe, model).
     * </pre>
     */
    public void getPrediction(entasis.analysis.v1.GetPredictionRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPredictionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetPredictionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetRisk returns value at risk, expected shortfall and volatility of one instrument, from one estimator.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no
     * finite answer, or too little history).
     * </pre>
     */
    public void getRisk(entasis.analysis.v1.GetRiskRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetRiskResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetRiskMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetPortfolioRisk returns value at risk and expected shortfall of the account's open positions together, and what
     * each of them contributes. Positions in different quote currencies are not added up.
     * Errors: MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no finite answer, or too
     * little history).
     * </pre>
     */
    public void getPortfolioRisk(entasis.analysis.v1.GetPortfolioRiskRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPortfolioRiskResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetPortfolioRiskMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * GetAccuracy returns how well the forecasts of one instrument have done: every forecast is kept, and scored when its
     * horizon has passed. The random walk, which says that the price stays as it is, is what they are measured against.
     * Errors: MARKET_001 (symbol), REQUEST_001 (timeframe, model, days).
     * </pre>
     */
    public void getAccuracy(entasis.analysis.v1.GetAccuracyRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.GetAccuracyResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetAccuracyMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * ListModels returns the models that forecasts are made with, one for each horizon, and what a training is about.
     * </pre>
     */
    public void listModels(entasis.analysis.v1.ListModelsRequest request,
        io.grpc.stub.StreamObserver<entasis.analysis.v1.ListModelsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListModelsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service AnalysisService.
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public static final class AnalysisServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<AnalysisServiceBlockingV2Stub> {
    private AnalysisServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AnalysisServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AnalysisServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrediction returns the forecast of one instrument's close at the horizon. It is a median: as likely too high as
     * too low, and seldom far from the last price.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_001 (model
     * missing, damaged, in training or of a later time than the market's), AI_002 (no finite answer, or too little
     * history), REQUEST_001 (timeframe, model).
     * </pre>
     */
    public entasis.analysis.v1.GetPredictionResponse getPrediction(entasis.analysis.v1.GetPredictionRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetPredictionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetRisk returns value at risk, expected shortfall and volatility of one instrument, from one estimator.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no
     * finite answer, or too little history).
     * </pre>
     */
    public entasis.analysis.v1.GetRiskResponse getRisk(entasis.analysis.v1.GetRiskRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetRiskMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetPortfolioRisk returns value at risk and expected shortfall of the account's open positions together, and what
     * each of them contributes. Positions in different quote currencies are not added up.
     * Errors: MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no finite answer, or too
     * little history).
     * </pre>
     */
    public entasis.analysis.v1.GetPortfolioRiskResponse getPortfolioRisk(entasis.analysis.v1.GetPortfolioRiskRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetPortfolioRiskMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetAccuracy returns how well the forecasts of one instrument have done: every forecast is kept, and scored when its
     * horizon has passed. The random walk, which says that the price stays as it is, is what they are measured against.
     * Errors: MARKET_001 (symbol), REQUEST_001 (timeframe, model, days).
     * </pre>
     */
    public entasis.analysis.v1.GetAccuracyResponse getAccuracy(entasis.analysis.v1.GetAccuracyRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetAccuracyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListModels returns the models that forecasts are made with, one for each horizon, and what a training is about.
     * </pre>
     */
    public entasis.analysis.v1.ListModelsResponse listModels(entasis.analysis.v1.ListModelsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListModelsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service AnalysisService.
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public static final class AnalysisServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<AnalysisServiceBlockingStub> {
    private AnalysisServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AnalysisServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AnalysisServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrediction returns the forecast of one instrument's close at the horizon. It is a median: as likely too high as
     * too low, and seldom far from the last price.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_001 (model
     * missing, damaged, in training or of a later time than the market's), AI_002 (no finite answer, or too little
     * history), REQUEST_001 (timeframe, model).
     * </pre>
     */
    public entasis.analysis.v1.GetPredictionResponse getPrediction(entasis.analysis.v1.GetPredictionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetPredictionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetRisk returns value at risk, expected shortfall and volatility of one instrument, from one estimator.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no
     * finite answer, or too little history).
     * </pre>
     */
    public entasis.analysis.v1.GetRiskResponse getRisk(entasis.analysis.v1.GetRiskRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetRiskMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetPortfolioRisk returns value at risk and expected shortfall of the account's open positions together, and what
     * each of them contributes. Positions in different quote currencies are not added up.
     * Errors: MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no finite answer, or too
     * little history).
     * </pre>
     */
    public entasis.analysis.v1.GetPortfolioRiskResponse getPortfolioRisk(entasis.analysis.v1.GetPortfolioRiskRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetPortfolioRiskMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * GetAccuracy returns how well the forecasts of one instrument have done: every forecast is kept, and scored when its
     * horizon has passed. The random walk, which says that the price stays as it is, is what they are measured against.
     * Errors: MARKET_001 (symbol), REQUEST_001 (timeframe, model, days).
     * </pre>
     */
    public entasis.analysis.v1.GetAccuracyResponse getAccuracy(entasis.analysis.v1.GetAccuracyRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetAccuracyMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * ListModels returns the models that forecasts are made with, one for each horizon, and what a training is about.
     * </pre>
     */
    public entasis.analysis.v1.ListModelsResponse listModels(entasis.analysis.v1.ListModelsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListModelsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service AnalysisService.
   * <pre>
   * AnalysisService says what the price may be, and what may be lost. Forecasts and figures are made of closed hourly
   * candles, once for each hour; what is asked again within the hour is answered from memory.
   * </pre>
   */
  public static final class AnalysisServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<AnalysisServiceFutureStub> {
    private AnalysisServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AnalysisServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AnalysisServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * GetPrediction returns the forecast of one instrument's close at the horizon. It is a median: as likely too high as
     * too low, and seldom far from the last price.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_001 (model
     * missing, damaged, in training or of a later time than the market's), AI_002 (no finite answer, or too little
     * history), REQUEST_001 (timeframe, model).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.analysis.v1.GetPredictionResponse> getPrediction(
        entasis.analysis.v1.GetPredictionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetPredictionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetRisk returns value at risk, expected shortfall and volatility of one instrument, from one estimator.
     * Errors: MARKET_001 (symbol), MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no
     * finite answer, or too little history).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.analysis.v1.GetRiskResponse> getRisk(
        entasis.analysis.v1.GetRiskRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetRiskMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetPortfolioRisk returns value at risk and expected shortfall of the account's open positions together, and what
     * each of them contributes. Positions in different quote currencies are not added up.
     * Errors: MARKET_002 (no candles of the last hours, or they are still being fetched), AI_002 (no finite answer, or too
     * little history).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.analysis.v1.GetPortfolioRiskResponse> getPortfolioRisk(
        entasis.analysis.v1.GetPortfolioRiskRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetPortfolioRiskMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * GetAccuracy returns how well the forecasts of one instrument have done: every forecast is kept, and scored when its
     * horizon has passed. The random walk, which says that the price stays as it is, is what they are measured against.
     * Errors: MARKET_001 (symbol), REQUEST_001 (timeframe, model, days).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.analysis.v1.GetAccuracyResponse> getAccuracy(
        entasis.analysis.v1.GetAccuracyRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetAccuracyMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * ListModels returns the models that forecasts are made with, one for each horizon, and what a training is about.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<entasis.analysis.v1.ListModelsResponse> listModels(
        entasis.analysis.v1.ListModelsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListModelsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_PREDICTION = 0;
  private static final int METHODID_GET_RISK = 1;
  private static final int METHODID_GET_PORTFOLIO_RISK = 2;
  private static final int METHODID_GET_ACCURACY = 3;
  private static final int METHODID_LIST_MODELS = 4;

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
        case METHODID_GET_PREDICTION:
          serviceImpl.getPrediction((entasis.analysis.v1.GetPredictionRequest) request,
              (io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPredictionResponse>) responseObserver);
          break;
        case METHODID_GET_RISK:
          serviceImpl.getRisk((entasis.analysis.v1.GetRiskRequest) request,
              (io.grpc.stub.StreamObserver<entasis.analysis.v1.GetRiskResponse>) responseObserver);
          break;
        case METHODID_GET_PORTFOLIO_RISK:
          serviceImpl.getPortfolioRisk((entasis.analysis.v1.GetPortfolioRiskRequest) request,
              (io.grpc.stub.StreamObserver<entasis.analysis.v1.GetPortfolioRiskResponse>) responseObserver);
          break;
        case METHODID_GET_ACCURACY:
          serviceImpl.getAccuracy((entasis.analysis.v1.GetAccuracyRequest) request,
              (io.grpc.stub.StreamObserver<entasis.analysis.v1.GetAccuracyResponse>) responseObserver);
          break;
        case METHODID_LIST_MODELS:
          serviceImpl.listModels((entasis.analysis.v1.ListModelsRequest) request,
              (io.grpc.stub.StreamObserver<entasis.analysis.v1.ListModelsResponse>) responseObserver);
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
          getGetPredictionMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.analysis.v1.GetPredictionRequest,
              entasis.analysis.v1.GetPredictionResponse>(
                service, METHODID_GET_PREDICTION)))
        .addMethod(
          getGetRiskMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.analysis.v1.GetRiskRequest,
              entasis.analysis.v1.GetRiskResponse>(
                service, METHODID_GET_RISK)))
        .addMethod(
          getGetPortfolioRiskMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.analysis.v1.GetPortfolioRiskRequest,
              entasis.analysis.v1.GetPortfolioRiskResponse>(
                service, METHODID_GET_PORTFOLIO_RISK)))
        .addMethod(
          getGetAccuracyMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.analysis.v1.GetAccuracyRequest,
              entasis.analysis.v1.GetAccuracyResponse>(
                service, METHODID_GET_ACCURACY)))
        .addMethod(
          getListModelsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              entasis.analysis.v1.ListModelsRequest,
              entasis.analysis.v1.ListModelsResponse>(
                service, METHODID_LIST_MODELS)))
        .build();
  }

  private static abstract class AnalysisServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    AnalysisServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return entasis.analysis.v1.Analysis.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("AnalysisService");
    }
  }

  private static final class AnalysisServiceFileDescriptorSupplier
      extends AnalysisServiceBaseDescriptorSupplier {
    AnalysisServiceFileDescriptorSupplier() {}
  }

  private static final class AnalysisServiceMethodDescriptorSupplier
      extends AnalysisServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    AnalysisServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (AnalysisServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new AnalysisServiceFileDescriptorSupplier())
              .addMethod(getGetPredictionMethod())
              .addMethod(getGetRiskMethod())
              .addMethod(getGetPortfolioRiskMethod())
              .addMethod(getGetAccuracyMethod())
              .addMethod(getListModelsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
