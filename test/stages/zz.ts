import { Effect } from "effect"
import { run } from "./run-stage.ts"
import { Networks } from "#model/networks.ts"
import { runOp } from "#engine/op.ts"
import { random } from "#data/random.ts"
await run(Effect.map(Networks, ({session}) => {
  const { tf } = session
  for (const [M, C] of [[8192, 16], [2048, 16], [512, 32],[128,64],[128,128]] as const) {
    const r = random(M, C); const x = Float32Array.from({length: M*C}, () => r.normal()*1.1 + 0.1)
    const m64 = new Float64Array(C), v64 = new Float64Array(C)
    for (let i=0;i<x.length;i++) m64[i%C]! += x[i]!/M
    for (let i=0;i<x.length;i++) v64[i%C]! += (x[i]!-m64[i%C]!)**2/M
    tf.tidy(() => {
      const none = tf.tensor1d([]), cv = tf.tensor4d(x,[16,M/16,1,C])
      const [y, mean, variance] = runOp(tf, "FusedBatchNormV3", { T: { type: "float32" }, U: { type: "float32" }, epsilon: { float: 1e-5 }, data_format: { string: "NHWC" }, is_training: { bool: true }, exponential_avg_factor: { float: 1 } }, [cv, tf.ones([C]), tf.zeros([C]), none, none], 6)
      const mm = cv.mean([0,1,2]), vv = cv.sub(mm).square().mean([0,1,2])
      const y2 = cv.sub(mm).div(vv.add(1e-5).sqrt()).dataSync()
      const rel = (a: any, b: Float64Array, f=1) => Math.max(...Array.from(a.dataSync() as Float32Array, (q,i)=>Math.abs(q*f-b[i]!))).toExponential(2)
      const e = (a: ArrayLike<number>) => { let s=0,mx=0; for(let i=0;i<x.length;i++){const c=i%C; const t=(x[i]!-m64[c]!)/Math.sqrt(v64[c]!+1e-5); const d=Math.abs(a[i]!-t); s+=d; mx=Math.max(mx,d)} return [(s/x.length).toExponential(2), mx.toExponential(2)] }
      console.log(M, C, "fused: mean", rel(mean!, m64), "var", rel(variance!, v64, (M-1)/M), "y", e(y!.dataSync()), "| ops: mean", rel(mm, m64), "var", rel(vv, v64), "y", e(y2))
    })
  }
}))
