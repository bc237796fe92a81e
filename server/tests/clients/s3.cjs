// One S3 operation with the AWS SDK for JavaScript: node s3.cjs OPERATION ARGUMENT...
// SSE names the encryption: empty, AES256, or the path of a file with a customer key.
"use strict";

const { createReadStream, createWriteStream, readFileSync } = require("node:fs");
const { pipeline } = require("node:stream/promises");
const sdk = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");

// Endpoint, region and credentials come from the environment; the CA from NODE_EXTRA_CA_CERTS.
const s3 = new sdk.S3Client({ forcePathStyle: true, maxAttempts: 1 });
const sse = process.env.SSE ?? "";
const key = sse && sse !== "AES256" ? readFileSync(sse) : undefined;
// The SDK encodes a key of bytes and adds its MD5.
const read = key ? { SSECustomerAlgorithm: "AES256", SSECustomerKey: key } : {};
const write = sse === "AES256" ? { ServerSideEncryption: sse } : read;
const source = key ? { CopySourceSSECustomerAlgorithm: "AES256", CopySourceSSECustomerKey: key } : {};

const operations = {
  mb: (Bucket) => s3.send(new sdk.CreateBucketCommand({ Bucket })),
  put: (path, Bucket, Key) =>
    new Upload({ client: s3, params: { Bucket, Key, Body: createReadStream(path), ...write } }).done(),
  async get(Bucket, Key, path) {
    const reply = await s3.send(new sdk.GetObjectCommand({ Bucket, Key, ...read }));
    await pipeline(reply.Body, createWriteStream(path));
  },
  async range(Bucket, Key, start, end) {
    const Range = `bytes=${start}-${end - 1}`;
    const reply = await s3.send(new sdk.GetObjectCommand({ Bucket, Key, Range, ...read }));
    await pipeline(reply.Body, process.stdout);
  },
  async list(Bucket, Prefix) {
    const page = await s3.send(new sdk.ListObjectsV2Command({ Bucket, Prefix, Delimiter: "/" }));
    return [(page.Contents ?? []).map((entry) => entry.Key), (page.CommonPrefixes ?? []).map((entry) => entry.Prefix)];
  },
  copy: (Bucket, from, Key) =>
    s3.send(new sdk.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${from}`, ...source, ...write })),
  head: (Bucket, Key) => s3.send(new sdk.HeadObjectCommand({ Bucket, Key, ...read })),
  rm: (Bucket, Key) => s3.send(new sdk.DeleteObjectCommand({ Bucket, Key })),
  rb: (Bucket) => s3.send(new sdk.DeleteBucketCommand({ Bucket })),
};

const [operation, ...words] = process.argv.slice(2);
operations[operation](...words)
  .then((answer) => operation === "range" || console.log(JSON.stringify(answer ?? {})))
  .catch((error) => {
    console.error(`${operation} ${words.join(" ")}: ${error.name}: ${error.message}`);
    process.exitCode = 1;
  });
