import { Effect } from "effect"
import { run } from "./run-stage.ts"
import { Networks } from "#model/networks.ts"
import { batchNormTrain, batchNormEvaluate } from "#engine/layers.ts"
await run(Effect.map(Networks, ({session}) => {
  const { tf } = session
  const hier3 = (q: any) => { const [n,h,w,c] = q.shape; return q.reshape([n*h, w, c]).mean(1).reshape([n,h,c]).mean(1).mean(0) }
  const hier2 = (q: any) => { const [n,h,w,c] = q.shape; return q.reshape([n, h*w, c]).mean(1).mean(0) }
  const pool2 = (q: any) => { const [n,h,w,c] = q.shape; return tf.avgPool(q, [h, w], [h,w], "valid").mean([0,1,2]) }
  for (const [n,h,w,c] of [[64,32,16,16],[64,16,8,32],[64,8,4,64],[64,8,4,128],[16,64,32,64]] as const) {
    const x = tf.randomNormal([n,h,w,c]) as any
    const l = { scale: tf.variable(tf.ones([c])), shift: tf.variable(tf.zeros([c])), runningMean: tf.variable(tf.zeros([c])), runningVariance: tf.variable(tf.ones([c])) } as any
    const time = (name: string, f: () => any) => { const ts = []; for (let i=0;i<30;i++) { const t=performance.now(); tf.tidy(() => f().slice([0,0,0,0],[1,1,1,1]).dataSync()); ts.push(performance.now()-t) } ts.sort((a,b)=>a-b); return `${name} ${ts[8]!.toFixed(2)}` }
    const alt = (hier: any) => () => { const m = hier(x); const v = hier(tf.squaredDifference(x, m)); return batchNormEvaluate(tf, x, { ...l, runningMean: m, runningVariance: v }) }
    console.log([n,h,w,c].join("x"), time("fused", () => batchNormTrain(tf, x, l)), time("hier2", alt(hier2)), time("hier3", alt(hier3)), time("pool2", alt(pool2)), time("mean only", () => x.mean([0,1,2]).reshape([1,1,1,c])), time("h2 mean", () => hier2(x).reshape([1,1,1,c])), time("pool mean", () => pool2(x).reshape([1,1,1,c])), time("sqdiff", () => tf.squaredDifference(x, l.shift)), time("eval", () => batchNormEvaluate(tf, x, l)))
  }
}))
