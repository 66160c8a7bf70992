// A certified OpenID provider (npm: oidc-provider) with one client; signs in whoever types a name into its form.
// Usage: node provider.mjs PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI. Says "ready" when it listens.
import { Provider } from "oidc-provider";

const [port, client_id, client_secret, redirect_uri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], profile: ["preferred_username", "org"] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["only for tests"] },
  // Whoever is called NAME@ORG is of ORG; NAME@ONE+TWO of both.
  findAccount: (_ctx, id) => {
    const orgs = id.includes("@") ? id.split("@")[1].split("+") : [];
    return { accountId: id, claims: () => ({ sub: id, preferred_username: id.split("@")[0], org: orgs.length > 1 ? orgs : orgs[0] }) };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
