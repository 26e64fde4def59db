// Runs the program over gRPC: ENTASIS_ADDRESS is Envoy's address, ENTASIS_KEY an API key.

import { createGrpcTransport } from "@connectrpc/connect-node";
import { explain, trade, withKey } from "./trade.js";

const address = process.env.ENTASIS_ADDRESS ?? "http://127.0.0.1:8080";

const transport = createGrpcTransport({
  baseUrl: address.includes("://") ? address : `http://${address}`,
  interceptors: [withKey(process.env.ENTASIS_KEY ?? "")],
});

try {
  for await (const line of trade(transport)) console.log(line);
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}
