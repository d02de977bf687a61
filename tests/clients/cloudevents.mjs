// Sends each line of standard input with the SDK: one third in each of its modes and in batches of the specification's batch format.
import { CloudEvent, HTTP, httpTransport, emitterFor, Mode } from "cloudevents";
import { readFileSync } from "node:fs";

const lines = readFileSync(0, "utf8").split("\n").filter((line) => line.trim());
const headers = { Authorization: `Bearer ${process.env.KEY}` };
const answered = { binary: 0, structured: 0, batch: 0 };

const post = async (message) => {
    const answer = await fetch(process.env.URL, { method: "POST", headers: { ...message.headers, ...headers }, body: message.body });
    if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
};

for (const [number, line] of lines.entries()) {
    const event = new CloudEvent(JSON.parse(line));
    if (number % 3 === 0) {
        await post(HTTP.binary(event));
        answered.binary++;
    } else if (number % 3 === 1) {
        await post(HTTP.structured(event));
        answered.structured++;
    } else {
        // The SDK reads batches and writes none: its events are put into one.
        await post({ headers: { "content-type": "application/cloudevents-batch+json" }, body: JSON.stringify([event, event]) });
        answered.batch++;
    }
}

// And as an application would, by an emitter.
const emit = emitterFor(httpTransport(process.env.URL), { mode: Mode.STRUCTURED });
const { body } = await emit(new CloudEvent(JSON.parse(lines[0])), { headers });
if (JSON.parse(body).accepted !== 1) throw new Error(body);
console.log(`npm cloudevents: ${JSON.stringify(answered)}, and one by an emitter`);
