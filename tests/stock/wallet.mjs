// The wallet's half, by viem alone: what the holder signs, as subject tokens (RFC 8693) for the token endpoint.
import { privateKeyToAccount } from "viem/accounts";
import { createSiweMessage } from "viem/siwe";

export const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const SUBJECT = "urn:commonhold:params:oauth:token-type:";

// A request that redeems `ask.seconds` of `ask.credit` for the session key, and the lease that it makes.
export async function redemption(metadata, ask, sessionKey) {
  const holder = privateKeyToAccount(ask.wallet);
  const { x, y } = await crypto.subtle.exportKey("jwk", sessionKey);
  const point = Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  const url = new URL("/v1/redemptions/typed-data", metadata.issuer);
  url.search = new URLSearchParams({
    holder: holder.address,
    credit_id: ask.credit,
    seconds: ask.seconds,
    session_key: `0x${point.toString("hex")}`,
    deadline: ask.deadline,
  });
  const { lease, typed_data } = await (await fetch(url)).json();
  const signature = await holder.signTypedData(typed_data);
  return { lease, form: exchange(ask, "redemption", { redemption: typed_data.message, signature }) };
}

// A request for a token of a lease that exists, signed in as its holder.
export async function signIn(metadata, ask, lease) {
  const holder = privateKeyToAccount(ask.wallet);
  const { c_nonce } = await (await fetch(metadata.nonce_endpoint, { method: "POST" })).json();
  const message = createSiweMessage({
    domain: new URL(metadata.issuer).host,
    address: holder.address,
    statement: "Use your lease of the pool.",
    uri: metadata.issuer,
    version: "1",
    chainId: ask.chain_id,
    nonce: c_nonce,
    issuedAt: new Date(),
    expirationTime: new Date(Date.now() + 300_000),
    resources: [`urn:commonhold:lease:${lease}`, ask.resource],
  });
  const signature = await holder.signMessage({ message });
  const details = [{ type: "gpu_time", lease }];
  return { ...exchange(ask, "siwe", { message, signature }), authorization_details: JSON.stringify(details) };
}

function exchange(ask, subject, document) {
  return {
    subject_token: Buffer.from(JSON.stringify(document)).toString("base64url"),
    subject_token_type: SUBJECT + subject,
    requested_token_type: "urn:ietf:params:oauth:token-type:access_token",
    resource: ask.resource,
    scope: "inference",
  };
}
