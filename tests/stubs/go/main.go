// Trade shows the Go stubs at work: a price, candles, a position opened and closed, a forecast and a stream.
//
// It calls ENTASIS_ADDRESS (host:port of Envoy, or of the engine itself, in plaintext on loopback) with the API key
// ENTASIS_KEY. It ends with 0 when all went well, and else with 1 and the error's words.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	analysisv1 "entasis/gen/go/entasis/analysis/v1"
	marketv1 "entasis/gen/go/entasis/market/v1"
	portfoliov1 "entasis/gen/go/entasis/portfolio/v1"
)

const (
	symbol          = "BTC-USDT"
	timeout         = 10 * time.Second
	streamedUpdates = 3
)

type trader struct {
	market    marketv1.MarketServiceClient
	portfolio portfoliov1.PortfolioServiceClient
	analysis  analysisv1.AnalysisServiceClient
	key       string
}

func main() {
	if err := run(os.Getenv("ENTASIS_ADDRESS"), os.Getenv("ENTASIS_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, key string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	t := trader{
		market:    marketv1.NewMarketServiceClient(connection),
		portfolio: portfoliov1.NewPortfolioServiceClient(connection),
		analysis:  analysisv1.NewAnalysisServiceClient(connection),
		key:       key,
	}
	for _, step := range []func() error{t.price, t.history, t.position, t.prediction, t.stream, t.tooLarge} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

// call gives the context of one call: the API key, further metadata as pairs of name and value, and a deadline.
func (t trader) call(pairs ...string) (context.Context, context.CancelFunc) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), append(pairs, "x-api-key", t.key)...)
	return context.WithTimeout(ctx, timeout)
}

func (t trader) price() error {
	ctx, cancel := t.call()
	defer cancel()
	price, err := t.market.GetPrice(ctx, &marketv1.GetPriceRequest{Symbol: symbol})
	if err != nil {
		return err
	}
	fmt.Println("price", price.Symbol, price.Price)
	return nil
}

func (t trader) history() error {
	ctx, cancel := t.call()
	defer cancel()
	history, err := t.market.GetHistory(ctx, &marketv1.GetHistoryRequest{Symbol: symbol, Interval: "1h", PageSize: 5})
	if err != nil {
		return err
	}
	if len(history.Data) == 0 {
		return fmt.Errorf("there are no candles of %s", symbol)
	}
	fmt.Printf("history %d candles, last close %s\n", len(history.Data), history.Data[len(history.Data)-1].Close)
	return nil
}

// position opens a position and closes it. Should a call be repeated, its idempotency key keeps it from being done twice.
func (t trader) position() error {
	ctx, cancel := t.call("idempotency-key", rand.Text())
	defer cancel()
	opened, err := t.portfolio.CreatePosition(ctx, &portfoliov1.CreatePositionRequest{
		Symbol: symbol, Size: "0.01", Type: "long",
	})
	if err != nil {
		return err
	}

	ctx, cancel = t.call()
	defer cancel()
	held, err := t.portfolio.GetPosition(ctx, &portfoliov1.GetPositionRequest{PositionId: opened.PositionId})
	if err != nil {
		return err
	}
	fmt.Println("opened", opened.PositionId, "at", held.Position.EntryPrice)

	ctx, cancel = t.call("idempotency-key", rand.Text())
	defer cancel()
	closed, err := t.portfolio.ClosePosition(ctx, &portfoliov1.ClosePositionRequest{PositionId: opened.PositionId})
	if err != nil {
		return err
	}
	fmt.Println("closed", closed.PositionId, "pnl", closed.RealisedPnl)
	return nil
}

func (t trader) prediction() error {
	ctx, cancel := t.call()
	defer cancel()
	forecast, err := t.analysis.GetPrediction(ctx, &analysisv1.GetPredictionRequest{Symbol: symbol})
	if reason(err) == "AI_001" { // no model has been trained yet
		fmt.Println("prediction unavailable AI_001")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Printf("prediction %s confidence %.2f timeframe %s model %s\n",
		forecast.Prediction, forecast.Confidence, forecast.Timeframe, forecast.Model)
	return nil
}

// stream prints the first updates of a stream. Leaving ends it, since the context ends.
func (t trader) stream() error {
	ctx, cancel := t.call()
	defer cancel()
	prices, err := t.market.StreamPrices(ctx, &marketv1.StreamPricesRequest{Symbols: []string{symbol}})
	if err != nil {
		return err
	}
	for printed := 0; printed < streamedUpdates; {
		batch, err := prices.Recv()
		if err == io.EOF {
			return fmt.Errorf("the stream ended after %d updates", printed)
		}
		if err != nil {
			return err
		}
		for _, update := range batch.Updates[:min(len(batch.Updates), streamedUpdates-printed)] {
			fmt.Println("stream", update.Symbol, update.Seq, update.Price)
			printed++
		}
	}
	return nil
}

// tooLarge tries to open more than the account can pay for, and shows how an error is read.
func (t trader) tooLarge() error {
	ctx, cancel := t.call("idempotency-key", rand.Text())
	defer cancel()
	opened, err := t.portfolio.CreatePosition(ctx, &portfoliov1.CreatePositionRequest{
		Symbol: symbol, Size: "100", Type: "long",
	})
	if err == nil {
		return fmt.Errorf("%s was opened beyond the balance", opened.PositionId)
	}
	if reason(err) == "" {
		return err
	}
	fmt.Println("error", reason(err), status.Convert(err).Message())
	return nil
}

// reason gives an error's code, such as `PORT_001`; empty where it has none.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}
