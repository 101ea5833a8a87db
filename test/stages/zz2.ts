import { Effect } from "effect"
import { GoldenTraining } from "./golden-training.ts"
import { run } from "./run-stage.ts"
import { Networks } from "#model/networks.ts"
import { conv2d, maxPool2d, batchNormTrain, batchNormEvaluate } from "#engine/layers.ts"
const tr = new GoldenTraining("train_official")
type T = { n: number, h: number, w: number, c: number, v: Float64Array }
const conv = (x: T, k: ArrayLike<number>, out: number, size: number, stride: number, pad: number): T => {
  const h = Math.floor((x.h + 2*pad - size)/stride)+1, w = Math.floor((x.w+2*pad-size)/stride)+1
  const v = new Float64Array(x.n*h*w*out)
  for (let n=0;n<x.n;n++) for (let y=0;y<h;y++) for (let xx=0;xx<w;xx++) for (let o=0;o<out;o++) {
    let s=0
    for (let dy=0;dy<size;dy++) for (let dx=0;dx<size;dx++) { const a=y*stride+dy-pad,b=xx*stride+dx-pad; if(a<0||b<0||a>=x.h||b>=x.w) continue
      for (let i=0;i<x.c;i++) s+= x.v[((n*x.h+a)*x.w+b)*x.c+i]! * k[((o*x.c+i)*size+dy)*size+dx]! }
    v[((n*h+y)*w+xx)*out+o]=s }
  return {n:x.n,h,w,c:out,v}
}
const bn = (x: T, g: ArrayLike<number>, b: ArrayLike<number>): T => {
  const M = x.n*x.h*x.w, v = new Float64Array(x.v.length)
  for (let c=0;c<x.c;c++){ let m=0; for(let i=0;i<M;i++) m+=x.v[i*x.c+c]!; m/=M; let q=0; for(let i=0;i<M;i++) q+=(x.v[i*x.c+c]!-m)**2; q/=M
    for(let i=0;i<M;i++) v[i*x.c+c]=(x.v[i*x.c+c]!-m)/Math.sqrt(q+1e-5)*g[c]!+b[c]! }
  return {...x, v}
}
const relu = (x: T): T => ({...x, v: x.v.map((a)=>Math.max(a,0))})
const round = (x: T): T => ({...x, v: x.v.map(Math.fround)})
const pool = (x: T): T => { const h=Math.floor((x.h+2-3)/2)+1,w=Math.floor((x.w+2-3)/2)+1; const v=new Float64Array(x.n*h*w*x.c).fill(-Infinity)
  for(let n=0;n<x.n;n++)for(let y=0;y<h;y++)for(let xx=0;xx<w;xx++)for(let dy=0;dy<3;dy++)for(let dx=0;dx<3;dx++){const a=2*y+dy-1,b=2*xx+dx-1; if(a<0||b<0||a>=x.h||b>=x.w)continue; for(let c=0;c<x.c;c++){const i=((n*h+y)*w+xx)*x.c+c; v[i]=Math.max(v[i]!,x.v[((n*x.h+a)*x.w+b)*x.c+c]!)}}
  return {n:x.n,h,w,c:x.c,v} }
await run(Effect.map(Networks, ({session}) => {
  const { tf } = session
  const a = tr.declareNetworks(session)
  const net = a.student2, t = net.read(), get = (n: string) => t.get("backbone."+n)!.values
  const { H, W } = tr.golden.params
  const { pixels, labels } = tr.view(0, 1)
  const im: T = { n: labels.length, h: H, w: W, c: 3, v: Float64Array.from(pixels) }
  const chain = (cv: (x: T, n: string, o: number, s: number, st: number, p: number) => T, b: (x: T, n: string) => T) => {
    const x = pool(relu(b(cv(im, "conv1.weight", 16, 7, 2, 3), "bn1")))
    return b(cv(x, "layer1.0.conv1.weight", 16, 3, 1, 1), "layer1.0.bn1").v
  }
  const k = (n: string) => net.toEngine("backbone."+n, t.get("backbone."+n)!) as never
  const exactConv = (x: T, n: string, o: number, s: number, st: number, p: number) => conv(x, get(n), o, s, st, p)
  const exactBn = (x: T, n: string) => bn(x, get(n+".weight"), get(n+".bias"))
  const tfConv = (x: T, n: string, o: number, s: number, st: number, p: number): T => { const y = conv2d(tf, tf.tensor4d(Float32Array.from(x.v), [x.n,x.h,x.w,x.c]), k(n), st, p); return { n: x.n, h: y.shape[1], w: y.shape[2], c: o, v: Float64Array.from(y.dataSync()) } }
  const vars = (l: string) => ({ scale: tf.variable(tf.tensor1d(get(l+".weight") as Float32Array)), shift: tf.variable(tf.tensor1d(get(l+".bias") as Float32Array)), runningMean: tf.variable(tf.zeros([16])), runningVariance: tf.variable(tf.zeros([16])) })
  const tfBn = (x: T, n: string): T => ({...x, v: Float64Array.from(batchNormTrain(tf, tf.tensor4d(Float32Array.from(x.v), [x.n,x.h,x.w,x.c]), vars(n)).dataSync()) })
  const opsBn = (x: T, n: string): T => { const q = tf.tensor4d(Float32Array.from(x.v), [x.n,x.h,x.w,x.c]); const m = q.mean([0,1,2]); const d = q.sub(m); const vv = d.square().mean([0,1,2]); const l = vars(n); return {...x, v: Float64Array.from(d.mul(tf.mul(vv.add(1e-5).rsqrt(), l.scale)).add(l.shift).dataSync()) } }
  const hier = (q: any) => { const [n,h,w,c] = q.shape; return q.reshape([n*h, w, c]).mean(1).reshape([n,h,c]).mean(1).mean(0) }
  const hier1 = (q: any) => { const [n,h,w,c] = q.shape; return q.reshape([n, h*w, c]).mean(1).mean(0) }
  const hierBn = (hier: any) => (x: T, n: string): T => { const q = tf.tensor4d(Float32Array.from(x.v), [x.n,x.h,x.w,x.c]); const m = hier(q); const d = q.sub(m); const vv = hier(d.square()); const l = vars(n); return {...x, v: Float64Array.from(d.mul(tf.mul(vv.add(1e-5).rsqrt(), l.scale)).add(l.shift).dataSync()) } }
  const hierFused = (hier: any) => (x: T, n: string): T => { const q = tf.tensor4d(Float32Array.from(x.v), [x.n,x.h,x.w,x.c]); const m = hier(q); const vv = hier(tf.squaredDifference(q, m)); const l = vars(n); return {...x, v: Float64Array.from(batchNormEvaluate(tf, q, {...l, runningMean: m as never, runningVariance: vv as never }).dataSync()) } }
  const ref = chain(exactConv, exactBn)
  const show = (name: string, v: Float64Array) => { let mx=0,s=0; for(let i=0;i<v.length;i++){const e=Math.abs(v[i]!-ref[i]!); mx=Math.max(mx,e); s+=e} console.log(name.padEnd(20), "max", mx.toExponential(2), "mean", (s/v.length).toExponential(2), "at flip", v[11348], ref[11348]) }
  show("tf tf", chain(tfConv, tfBn))
  show("tf ops", chain(tfConv, opsBn))
  show("tf hier3", chain(tfConv, hierBn(hier)))
  show("tf hier2", chain(tfConv, hierBn(hier1)))
  show("tf hierFused3", chain(tfConv, hierFused(hier)))
  show("tf hierFused2", chain(tfConv, hierFused(hier1)))
  show("tf exactBn", chain(tfConv, (x, n) => round(exactBn(x, n))))
  show("exactConv tfBn", chain((...q) => round(exactConv(...q)), tfBn))
  show("ideal f32", chain((...q) => round(exactConv(...q)), (x, n) => round(exactBn(x, n))))
}))
