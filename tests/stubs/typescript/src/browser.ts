// Runs the program over gRPC-Web, in a page that may come from any origin.

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { explain, trade, withKey } from "./trade.js";

const form = document.querySelector("form")!;
const output = document.querySelector("output")!;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const entered = new FormData(form);
  const transport = createGrpcWebTransport({
    baseUrl: String(entered.get("address")),
    interceptors: [withKey(String(entered.get("key")))],
  });
  output.textContent = "";
  try {
    for await (const line of trade(transport)) output.append(`${line}\n`);
  } catch (error) {
    output.append(`${explain(error)}\n`);
  }
});
