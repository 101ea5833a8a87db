import { Effect } from "effect"
import { writeSynthetic } from "#data/synthetic/write.ts"
const t=performance.now(), c0=process.cpuUsage()
console.log(await Effect.runPromise(writeSynthetic({folder: process.argv[2]!, seed: Number(process.argv[3]), concurrency: Number(process.argv[4]??3), force: true})))
const c=process.cpuUsage(c0); console.log(((performance.now()-t)/1000).toFixed(1),"s wall", ((c.user+c.system)/1e6).toFixed(1),"s cpu")
