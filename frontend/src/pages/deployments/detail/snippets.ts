/** How a program asks a deployment, in the words of several. Pure. */

export interface Snippet {
  readonly title: string;
  readonly text: string;
}

/** `gateway` is its address, as "http://here:8001"; the key is the reader's own. */
export function snippets(model: string, gateway: string): Snippet[] {
  const base = `${gateway}/v1`;
  const asked = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }], stream: true });
  return [
    {
      title: "curl",
      // @wc-ignore
      text: [
        `curl ${base}/chat/completions \\`,
        `  -H "Authorization: Bearer $SARDEENZ_API_KEY" -H 'Content-Type: application/json' \\`,
        `  -d '${asked}'`,
      ].join("\n"),
    },
    {
      title: "Python",
      // @wc-ignore
      text: [
        "import os",
        "from openai import OpenAI",
        "",
        `client = OpenAI(base_url="${base}", api_key=os.environ["SARDEENZ_API_KEY"])`,
        "stream = client.chat.completions.create(",
        `    model="${model}", messages=[{"role": "user", "content": "Hello"}], stream=True`,
        ")",
        "for chunk in stream:",
        '    print(chunk.choices[0].delta.content or "", end="")',
      ].join("\n"),
    },
    {
      title: "JavaScript",
      // @wc-ignore
      text: [
        'import OpenAI from "openai";',
        "",
        `const client = new OpenAI({ baseURL: "${base}", apiKey: process.env.SARDEENZ_API_KEY });`,
        "const stream = await client.chat.completions.create({",
        `  model: "${model}", messages: [{ role: "user", content: "Hello" }], stream: true,`,
        "});",
        'for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");',
      ].join("\n"),
    },
    {
      title: "Coding agents",
      // @wc-ignore
      text: [
        "# any that speaks OpenAI's API",
        `export OPENAI_BASE_URL=${base} OPENAI_API_KEY=$SARDEENZ_API_KEY`,
        `aider --model openai/${model}`,
        "",
        "# any that speaks Anthropic's",
        `export ANTHROPIC_BASE_URL=${gateway} ANTHROPIC_AUTH_TOKEN=$SARDEENZ_API_KEY ANTHROPIC_MODEL=${model}`,
        "claude",
      ].join("\n"),
    },
  ];
}

/** A command as a shell takes it. */
export function shell(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
