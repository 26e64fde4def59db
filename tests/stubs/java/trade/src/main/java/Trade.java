import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import entasis.analysis.v1.AnalysisServiceGrpc;
import entasis.analysis.v1.GetPredictionRequest;
import entasis.market.v1.GetHistoryRequest;
import entasis.market.v1.GetPriceRequest;
import entasis.market.v1.MarketServiceGrpc;
import entasis.market.v1.MarketServiceGrpc.MarketServiceBlockingStub;
import entasis.market.v1.PriceUpdate;
import entasis.market.v1.StreamPricesRequest;
import entasis.portfolio.v1.ClosePositionRequest;
import entasis.portfolio.v1.CreatePositionRequest;
import entasis.portfolio.v1.GetPositionRequest;
import entasis.portfolio.v1.PortfolioServiceGrpc;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.MetadataUtils;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;

/** Trades a little, and tells each step in a line. ENTASIS_ADDRESS is Envoy's address, ENTASIS_KEY an API key. */
public final class Trade {
  private static final String SYMBOL = "BTC-USDT";

  public static void main(String[] arguments) throws InterruptedException {
    String address = System.getenv().getOrDefault("ENTASIS_ADDRESS", "127.0.0.1:8080").replace("http://", "");
    ManagedChannel channel =
        Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
            .intercept(header("x-api-key", System.getenv().getOrDefault("ENTASIS_KEY", "")))
            .build();
    try {
      trade(channel);
    } catch (StatusRuntimeException error) {
      System.err.println(explain(error));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  static void trade(ManagedChannel channel) throws InterruptedException {
    var market = MarketServiceGrpc.newBlockingStub(channel);
    var portfolio = PortfolioServiceGrpc.newBlockingStub(channel);
    var analysis = AnalysisServiceGrpc.newBlockingStub(channel);

    var price = soon(market).getPrice(GetPriceRequest.newBuilder().setSymbol(SYMBOL).build());
    print("price %s %s", SYMBOL, price.getPrice());

    var history =
        soon(market)
            .getHistory(GetHistoryRequest.newBuilder().setSymbol(SYMBOL).setInterval("1h").setPageSize(5).build());
    int candles = history.getDataCount();
    print("history %d candles, last close %s", candles, history.getData(candles - 1).getClose());

    // The key makes it safe to send the same request again where no answer came.
    var order = CreatePositionRequest.newBuilder().setSymbol(SYMBOL).setSize("0.01").setType("long").build();
    String id = once(soon(portfolio)).createPosition(order).getPositionId();
    var position = soon(portfolio).getPosition(GetPositionRequest.newBuilder().setPositionId(id).build());
    print("opened %s at %s", id, position.getPosition().getEntryPrice());

    var closed = once(soon(portfolio)).closePosition(ClosePositionRequest.newBuilder().setPositionId(id).build());
    print("closed %s pnl %s", id, closed.getRealisedPnl());

    try {
      var forecast =
          soon(analysis)
              .getPrediction(GetPredictionRequest.newBuilder().setSymbol(SYMBOL).setTimeframe("1h").build());
      print(
          "prediction %s confidence %.2f timeframe %s model %s",
          forecast.getPrediction(), forecast.getConfidence(), forecast.getTimeframe(), forecast.getModel());
    } catch (StatusRuntimeException error) {
      if (!reason(error).equals("AI_001")) throw error; // the models are not trained yet
      print("prediction unavailable AI_001");
    }

    // A stream has no deadline of its own: it ends when nobody wants more, or here after a minute without three trades.
    var seen = new AtomicInteger();
    follow(
        market.withDeadlineAfter(60, TimeUnit.SECONDS),
        SYMBOL,
        update -> {
          print("stream %s %s %s", SYMBOL, Long.toUnsignedString(update.getSeq()), update.getPrice());
          return seen.incrementAndGet() < 3;
        });

    try {
      once(soon(portfolio)).createPosition(order.toBuilder().setSize("10").build());
      throw new IllegalStateException("a position beyond the balance was opened");
    } catch (StatusRuntimeException error) {
      print("error %s", explain(error));
    }
    print("done");
  }

  /**
   * Gives every trade of a symbol from now on, as long as more are wanted. When the connection is lost it connects again
   * and goes on after the last trade that came; a jump of `seq` by more than one says that more was missed than the
   * engine still had.
   */
  static void follow(MarketServiceBlockingStub market, String symbol, Predicate<PriceUpdate> wantsMore)
      throws InterruptedException {
    Map<String, Long> resumeAfter = new HashMap<>();
    for (int failures = 0; ; failures++) {
      Context.CancellableContext context = Context.current().withCancellation();
      Context before = context.attach();
      try {
        var request = StreamPricesRequest.newBuilder().addSymbols(symbol).putAllResumeAfter(resumeAfter).build();
        var batches = market.streamPrices(request);
        while (batches.hasNext()) {
          failures = 0;
          for (PriceUpdate update : batches.next().getUpdatesList()) {
            resumeAfter.put(update.getSymbol(), update.getSeq());
            if (!wantsMore.test(update)) return;
          }
        }
      } catch (StatusRuntimeException error) {
        if (before.isCancelled() || !wasLost(error)) throw error;
      } finally {
        context.detach(before);
        context.cancel(null); // ends the stream
      }
      Thread.sleep(Math.min(100L << Math.min(failures, 6), 5_000));
    }
  }

  /** Whether the connection was lost, or the engine is stopping, rather than that it refused the call. */
  private static boolean wasLost(StatusRuntimeException error) {
    return switch (error.getStatus().getCode()) {
      case UNAVAILABLE -> true;
      // What a socket that broke is told as depends on how; the engine's own errors have a reason.
      case INTERNAL, UNKNOWN, CANCELLED -> reason(error).isEmpty();
      default -> false;
    };
  }

  /** The stub with a deadline for one call. */
  private static <S extends AbstractStub<S>> S soon(S stub) {
    return stub.withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  /** The stub with a key by which the engine does one write only once. */
  private static <S extends AbstractStub<S>> S once(S stub) {
    return stub.withInterceptors(header("idempotency-key", UUID.randomUUID().toString()));
  }

  private static ClientInterceptor header(String name, String value) {
    var headers = new Metadata();
    headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  /** An error in words: its reason, such as `PORT_001`, and its message. */
  static String explain(StatusRuntimeException error) {
    String reason = reason(error);
    Status status = error.getStatus();
    return (reason.isEmpty() ? status.getCode() : reason) + " " + status.getDescription();
  }

  /** Why a call failed, as docs/errors.md lists it; empty where the engine was not reached. */
  static String reason(StatusRuntimeException error) {
    for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        try {
          return detail.unpack(ErrorInfo.class).getReason();
        } catch (InvalidProtocolBufferException damaged) {
          return "";
        }
      }
    }
    return "";
  }

  private static void print(String form, Object... values) {
    System.out.println(String.format(Locale.ROOT, form, values));
  }

  private Trade() {}
}
