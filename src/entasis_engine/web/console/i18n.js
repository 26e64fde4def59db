// @ts-check
/** What the page says, in English and Korean. Markup names its words by `data-t`, and labels by `data-t-label`. */

/** @type {Record<string, [en: string, ko: string]>} */
export const WORDS = {
  "skip": ["Skip to the chart", "차트로 건너뛰기"],
  "tagline": ["Console", "콘솔"],

  "theme": ["Theme", "테마"],
  "theme.auto": ["Auto", "자동"],
  "theme.light": ["Light", "밝게"],
  "theme.dark": ["Dark", "어둡게"],
  "language": ["Language", "언어"],

  "key": ["API key", "API 키"],
  "key.use": ["Use key", "키 사용"],
  "key.forget": ["Forget key", "키 지우기"],
  "key.accepted": ["Key accepted: account {account}", "키가 확인되었습니다. 계정 {account}"],
  "key.forgotten": ["The key is forgotten", "키를 지웠습니다"],
  "key.account": ["Account {account}", "계정 {account}"],
  "key.scopes": ["May: {scopes}", "권한: {scopes}"],
  "key.why": [
    "History, forecasts, risk and positions need a key: the first start of the engine prints one. It is kept in this tab and gone when the tab is closed.",
    "과거 데이터, 예측, 위험, 포지션에는 API 키가 필요하며, 엔진을 처음 시작하면 출력됩니다. 키는 이 탭에만 보관되며 탭을 닫으면 사라집니다.",
  ],
  "needs.prices": ["This engine shows nothing without an API key.", "이 엔진은 API 키 없이는 아무것도 보여 주지 않습니다."],
  "needs.history": ["Earlier candles need an API key", "이전 캔들을 보려면 API 키가 필요합니다"],
  "needs.forecast": ["Forecasts need an API key.", "예측을 보려면 API 키가 필요합니다."],
  "needs.risk": ["Risk figures need an API key.", "위험 지표를 보려면 API 키가 필요합니다."],
  "needs.accuracy": ["Accuracy needs an API key.", "정확도를 보려면 API 키가 필요합니다."],
  "needs.positions": ["Positions need an API key.", "포지션을 보려면 API 키가 필요합니다."],
  "needs.order": ["Opening a position needs an API key.", "포지션을 열려면 API 키가 필요합니다."],

  "state": ["Connection", "연결"],
  "state.connecting": ["Connecting", "연결 중"],
  "state.connected": ["Connected", "연결됨"],
  "state.reconnecting": ["Reconnecting", "재연결 중"],
  "state.offline": ["Offline", "오프라인"],
  "state.refused": ["Refused", "거부됨"],
  "state.lost": ["The connection was lost; it is being restored", "연결이 끊어져 다시 연결하고 있습니다"],
  "state.restored": ["Connected again", "다시 연결되었습니다"],
  "feed": ["Feed", "피드"],
  "feed.live": ["Live", "정상"],
  "feed.waiting": ["Waiting", "대기 중"],
  "feed.down": ["Interrupted: {symbols}", "중단됨: {symbols}"],
  "feed.all": ["all", "전체"],
  "feed.mark": ["no data", "데이터 없음"],
  "status.age": ["Last message", "마지막 메시지"],
  "status.seconds": ["{n} s ago", "{n}초 전"],
  "status.rate": ["Messages/s", "초당 메시지"],
  "status.gaps": ["Gaps", "누락"],
  "status.reconnections": ["Reconnections", "재연결"],

  "prices": ["Prices", "시세"],
  "prices.symbol": ["Symbol", "심볼"],
  "prices.last": ["Last", "현재가"],
  "prices.day": ["Day", "당일"],
  "prices.empty": ["Waiting for prices …", "시세를 기다리는 중…"],

  "chart": ["Chart", "차트"],
  "chart.interval": ["Candle interval", "캔들 간격"],
  "chart.open": ["Open", "시가"],
  "chart.high": ["High", "고가"],
  "chart.low": ["Low", "저가"],
  "chart.close": ["Close", "종가"],
  "chart.volume": ["Volume", "거래량"],
  "chart.day.high": ["Day high", "당일 고가"],
  "chart.day.low": ["Day low", "당일 저가"],
  "chart.day.volume": ["Day volume", "당일 거래량"],
  "chart.keys": ["Arrow keys move the chart, plus and minus zoom, Home goes to the latest", "화살표 키로 이동, +/−로 확대·축소, Home으로 최신 캔들로 이동"],
  "chart.loading": ["Loading candles …", "캔들을 불러오는 중…"],
  "chart.text": [
    "{symbol}, {interval} candles. The last of {count} opened at {open}, high {high}, low {low}, now {close}.",
    "{symbol} {interval} 캔들. 총 {count}개 중 마지막 캔들: 시가 {open}, 고가 {high}, 저가 {low}, 현재 {close}.",
  ],
  "chart.text.forecast": [
    " Forecast for {due} UTC: {prediction}, with 80 % between {low} and {high}.",
    " {due}(UTC) 예측: {prediction}, 80 % 구간 {low} ~ {high}.",
  ],
  "chart.table": ["Candles as a table", "캔들을 표로 보기"],
  "chart.time": ["Time (UTC)", "시각(UTC)"],
  "chart.legend": ["Shaded: where the price is at the horizon with 50, 80 and 95 %", "음영: 예측 시점의 가격이 50, 80, 95 % 확률로 놓이는 구간"],

  "book": ["Order book", "호가"],
  "book.price": ["Price", "가격"],
  "book.size": ["Size", "수량"],
  "book.total": ["Total", "누적"],
  "book.spread": ["Spread", "스프레드"],
  "book.asks": ["Asks", "매도 호가"],
  "book.bids": ["Bids", "매수 호가"],
  "book.empty": ["Waiting for the book …", "호가를 기다리는 중…"],

  "forecast": ["Forecast", "예측"],
  "forecast.horizon": ["Horizon", "예측 기간"],
  "forecast.model": ["Model", "모델"],
  "forecast.due": ["{from} → {due} UTC", "{from} → {due} UTC"],
  "forecast.change": ["against the last close", "마지막 종가 대비"],
  "forecast.confidence": ["Within ±{band}", "±{band} 이내 확률"],
  "forecast.level": ["Probability", "확률"],
  "forecast.low": ["From", "하한"],
  "forecast.high": ["To", "상한"],
  "forecast.version": ["Model {version}, trained to {cutoff}", "모델 {version}, {cutoff}까지 학습"],
  "forecast.training": ["Models are being trained. Next look in {n} s.", "모델을 학습하고 있습니다. {n}초 후 다시 확인합니다."],
  "loading": ["Loading …", "불러오는 중…"],
  "retry": ["{message} Next look in {n} s.", "{message} {n}초 후 다시 확인합니다."],

  "risk": ["Risk", "위험"],
  "risk.unit": ["1 {base}, one day", "1 {base}, 1일"],
  "risk.var": ["Value at risk, 95 %", "최대예상손실 95 %"],
  "risk.es": ["Expected shortfall", "기대 손실(ES)"],
  "risk.volatility": ["Volatility, a year", "변동성(연)"],
  "risk.sample": ["Tail from {n} days", "표본 {n}일"],
  "risk.account": ["VaR 95 %, 1 day", "VaR 95 %, 1일"],
  "risk.net": ["Net notional", "순 명목금액"],
  "risk.gross": ["Gross notional", "총 명목금액"],

  "accuracy": ["Accuracy", "정확도"],
  "accuracy.against": ["against the random walk", "랜덤워크 대비"],
  "accuracy.n": ["Scored", "채점"],
  "accuracy.error": ["Error ×", "오차 ×"],
  "accuracy.hits": ["Hits", "적중"],
  "accuracy.note": [
    "Error × is the error over that of “the price stays”: below 1 is better. Scored once the horizon has passed.",
    "오차 ×는 ‘가격이 그대로’라는 예측의 오차에 대한 비율로 1보다 작을수록 좋습니다. 기간이 지나면 채점됩니다.",
  ],

  "positions": ["Positions", "포지션"],
  "positions.symbol": ["Position", "포지션"],
  "positions.size": ["Size", "수량"],
  "positions.entry": ["Entry", "진입가"],
  "positions.current": ["Current", "현재가"],
  "positions.pnl": ["PnL", "손익"],
  "positions.margin": ["Margin", "증거금"],
  "positions.liquidation": ["Liquidation", "청산가"],
  "positions.action": ["Action", "작업"],
  "positions.empty": ["No open positions.", "열린 포지션이 없습니다."],
  "positions.opened": ["Opened: {side} {size} {symbol}", "포지션을 열었습니다: {side} {size} {symbol}"],
  "positions.closed": ["Closed: {side} {symbol}, PnL {pnl}", "포지션을 종료했습니다: {side} {symbol}, 손익 {pnl}"],
  "positions.changed": ["A part was closed: {side} {symbol}, {size} is open", "일부를 종료했습니다: {side} {symbol}, 남은 수량 {size}"],
  "positions.liquidated": ["Liquidated: {side} {symbol}, PnL {pnl}", "강제 청산되었습니다: {side} {symbol}, 손익 {pnl}"],
  "side.long": ["Long", "롱"],
  "side.short": ["Short", "숏"],
  "balance.equity": ["Equity", "평가 자산"],
  "balance.balance": ["Balance", "잔고"],
  "balance.free": ["Free margin", "가용 증거금"],
  "balance.used": ["Used margin", "사용 증거금"],
  "balance.pnl": ["Unrealised PnL", "미실현 손익"],

  "close": ["Close", "종료"],
  "close.which": ["Close {side} {symbol}", "{side} {symbol} 종료"],
  "close.title": ["Close {side} {size} {symbol}?", "{side} {size} {symbol} 포지션을 종료할까요?"],
  "close.size": ["Size to close; empty closes all", "종료할 수량(비워 두면 전부)"],
  "close.confirm": ["Close position", "포지션 종료"],
  "cancel": ["Cancel", "취소"],

  "order": ["Open a position", "포지션 열기"],
  "order.symbol": ["Symbol", "심볼"],
  "order.side": ["Side", "방향"],
  "order.size": ["Size ({base})", "수량({base})"],
  "order.leverage": ["Leverage (1 to {most})", "레버리지(1 ~ {most})"],
  "order.about": ["About {notional} {quote}, margin {margin}", "약 {notional} {quote}, 증거금 {margin}"],
  "order.lot": ["In steps of {lot}", "{lot} 단위"],
  "order.submit.long": ["Open long", "롱 열기"],
  "order.submit.short": ["Open short", "숏 열기"],
  "order.sending": ["Sending …", "보내는 중…"],
  "order.number": ["Give a number, such as 0.5", "0.5처럼 숫자를 입력해 주세요"],
  "order.unknown": [
    "{message} It is not known whether this was done: send it again, and it is done once.",
    "{message} 처리되었는지 알 수 없습니다. 다시 보내도 한 번만 처리됩니다.",
  ],

  "error.status": ["The engine answered {status}.", "엔진이 {status}로 응답했습니다."],
  "error.unreachable": ["The engine does not answer.", "엔진이 응답하지 않습니다."],

  "footer.docs": ["API documentation", "API 문서"],
  "footer.charts": ["Charts by TradingView", "차트 제공: TradingView"],
  "footer.paper": ["Positions are on paper: no real money moves.", "모의 포지션이며 실제 돈은 움직이지 않습니다."],
};

/** @returns {"en" | "ko"} */
export const language = () => (document.documentElement.lang === "ko" ? "ko" : "en");

/** @param {string} name @param {Record<string, string | number>} [values] */
export function t(name, values = {}) {
  const words = WORDS[name][language() === "ko" ? 1 : 0];
  return words.replace(/\{(\w+)\}/g, (_, value) => String(values[value]));
}

/** Put the words into markup that names them. @param {ParentNode} [root] */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(/** @type {HTMLElement} */ (element).dataset.t ?? "");
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(/** @type {HTMLElement} */ (element).dataset.tLabel ?? ""));
  }
}
