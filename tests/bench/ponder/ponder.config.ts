import { createConfig } from "ponder";

const transfer = {
  type: "event",
  name: "Transfer",
  inputs: [
    { name: "caller", type: "address", indexed: false },
    { name: "sender", type: "address", indexed: true },
    { name: "receiver", type: "address", indexed: true },
    { name: "id", type: "uint256", indexed: true },
    { name: "amount", type: "uint256", indexed: false },
  ],
} as const;

export default createConfig({
  database: { kind: "postgres", connectionString: process.env.BENCH_DATABASE },
  chains: { bench: { id: 31337, rpc: process.env.BENCH_RPC } },
  contracts: {
    Ledger: {
      chain: "bench",
      abi: [transfer],
      address: process.env.BENCH_LEDGER as `0x${string}`,
      startBlock: Number(process.env.BENCH_FIRST),
      endBlock: Number(process.env.BENCH_LAST),
    },
  },
});
