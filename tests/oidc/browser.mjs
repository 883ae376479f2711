// Plays the browser, and the person before it: opens an address, fills in the forms of the provider, follows where they lead, and prints
// each step. The last line is the text of the page in the end.
//   node browser.mjs ADDRESS USER|--cancel [USER-CODE]
const [address, user, userCode] = process.argv.slice(2);
const jar = new Map(); // of the provider's host
const home = new URL(address).host;

function remember(response) {
  for (const line of response.headers.getSetCookie()) {
    const [pair, ...attributes] = line.split(';');
    const at = pair.indexOf('=');
    const path = attributes.map((a) => a.trim()).find((a) => a.toLowerCase().startsWith('path='))?.slice(5) ?? '/';
    const gone = attributes.some((a) => /^\s*expires=.*1970/i.test(a));
    const key = `${path} ${pair.slice(0, at)}`;
    if (gone) jar.delete(key); else jar.set(key, { path, pair });
  }
}
const cookies = (url) => (url.host !== home ? '' : [...jar.values()].filter((c) => url.pathname.startsWith(c.path)).map((c) => c.pair).join('; '));

// One request and the redirects behind it.
async function visit(url, form) {
  for (let hops = 0; hops < 15; hops += 1) {
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET', body: form, redirect: 'manual', headers: { cookie: cookies(url), ...(form && { origin: url.origin }) },
    });
    if (url.host === home) remember(response);
    console.log(response.status, url.host === home ? url.pathname : `${url.host}${url.pathname}`);
    if (response.status < 300 || response.status > 399) return { url, text: await response.text() };
    url = new URL(response.headers.get('location'), url);
    form = undefined;
  }
  throw new Error('redirected without end');
}

const attribute = (tag, name) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
const unescape = (text) => text.replaceAll('&amp;', '&').replaceAll('&#x2F;', '/').replaceAll('&#47;', '/');

// The first form of the page, filled in as a person would.
function fill(page) {
  const form = /<form\b[^>]*>([\s\S]*?)<\/form>/.exec(page.text);
  if (!form || page.url.host !== home) return undefined;
  const values = new URLSearchParams();
  for (const [input] of form[1].matchAll(/<input\b[^>]*>/g)) {
    const name = attribute(input, 'name');
    if (name) values.set(name, { login: user, password: 'any', user_code: userCode }[name] ?? unescape(attribute(input, 'value') ?? ''));
  }
  return { url: new URL(unescape(attribute(form[0], 'action') ?? ''), page.url), values };
}

let page = await visit(new URL(address));
for (let forms = 0; forms < 8; forms += 1) {
  const form = fill(page);
  if (!form) break;
  page = user === '--cancel' ? await visit(new URL(`${page.url}/abort`)) : await visit(form.url, form.values);
}
console.log(page.text.replace(/<style[\s\S]*?<\/style>/g, '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim());
