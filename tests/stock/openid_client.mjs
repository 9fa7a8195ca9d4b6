// openid-client, unchanged: discovery (where it looks by default), both exchanges with DPoP, introspection, revocation,
// a refusal. The ask on stdin, what it was answered on stdout. It sends the nonce by itself, so what the token endpoint
// answered is written down on the way.
import { json } from "node:stream/consumers";
import * as client from "openid-client";
import { redemption, signIn, TOKEN_EXCHANGE } from "./wallet.mjs";

const ask = await json(process.stdin);
const told = [];
const config = await client.discovery(new URL(ask.issuer), ask.client_id, undefined, client.None(), {
  execute: [client.allowInsecureRequests], // http on loopback
  [client.customFetch]: async (url, options) => {
    const answer = await fetch(url, options);
    if (url.endsWith("/token")) told.push(answer.ok ? "token" : (await answer.clone().json()).error);
    return answer;
  },
});
const metadata = config.serverMetadata();
const keys = await client.randomDPoPKeyPair("ES256");
const DPoP = client.getDPoPHandle(config, keys);

const redeem = await redemption(metadata, ask, keys.publicKey);
const redeemed = await client.genericGrantRequest(config, TOKEN_EXCHANGE, redeem.form, { DPoP });
const form = await signIn(metadata, ask, redeem.lease);
const signedIn = await client.genericGrantRequest(config, TOKEN_EXCHANGE, form, { DPoP });
const refused = await client.genericGrantRequest(config, TOKEN_EXCHANGE, form, { DPoP }).catch((error) => error);

const before = await client.tokenIntrospection(config, redeemed.access_token);
await client.tokenRevocation(config, redeemed.access_token);
const after = await client.tokenIntrospection(config, redeemed.access_token);

console.log(
  JSON.stringify({
    told,
    lease: redeem.lease,
    redeemed,
    signed_in: signedIn,
    expires_in: signedIn.expiresIn(),
    refused: { name: refused.name, error: refused.error, status: refused.status },
    before,
    after,
    jwk: await crypto.subtle.exportKey("jwk", keys.publicKey),
  }),
);
