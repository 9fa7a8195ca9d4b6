import { ponder } from "ponder:registry";
import { holding } from "ponder:schema";

const NOBODY = "0x0000000000000000000000000000000000000000";

ponder.on("Ledger:Transfer", async ({ event, context }) => {
  const { sender, receiver, id, amount } = event.args;
  for (const [owner, units] of [[sender, -amount], [receiver, amount]] as const) {
    if (owner === NOBODY) continue;
    await context.db
      .insert(holding)
      .values({ asset: id, owner, units })
      .onConflictDoUpdate((row) => ({ units: row.units + units }));
  }
});
