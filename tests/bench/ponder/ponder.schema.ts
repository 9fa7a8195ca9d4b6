import { onchainTable, primaryKey } from "ponder";

export const holding = onchainTable(
  "holding",
  (t) => ({ asset: t.bigint().notNull(), owner: t.hex().notNull(), units: t.bigint().notNull() }),
  (table) => ({ pk: primaryKey({ columns: [table.asset, table.owner] }) }),
);
