/** Every number of the page against what its artifacts hold, computed here from the Arrow files alone. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { cellsOf, drawnRuns, pageOf, rowsOf } from "./drawn-reports.ts"

const runs = drawnRuns()
let run: string
let document: Document

beforeAll(async () => {
  run = await runs.draw("whole", "whole")
  document = (await pageOf(run)).document as unknown as Document
})

const chart = (id: string) => {
  const [head, ...rows] = cellsOf(document.querySelector(`figure[id="${id}"] table`))
  return {
    names: head!.slice(1),
    xs: rows.map(([x]) => x),
    columns: head!.slice(1).map((_, i) => rows.map((row) => row[i + 1]))
  }
}

const epochs = ["epoch-001", "epoch-002", "epoch-003"]
const adaptations = [
  { name: "hard", folder: "hard/", networks: ["student-1", "student-2"] },
  { name: "mmt", folder: "", networks: ["teacher-1", "teacher-2"] }
]
const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

const metric = (task: string, name: string) =>
  100 * Number(rowsOf(run, task, "metrics.arrow").find((row) => row.name === name)!.value)

const metrics = ["mAP", "top-1", "top-5", "top-10"]

describe("scores", () => {
  const rowsOfTable = () => {
    const [, ...rows] = cellsOf(document.querySelector("table.scores"))
    return rows
  }
  const best = (folder: string, networks: ReadonlyArray<string>) =>
    epochs
      .flatMap((epoch, i) =>
        networks.map((network) => ({
          epoch: i + 1,
          network,
          mAP: metric(`${folder}evaluate/${epoch}/${network}`, "mAP")
        }))
      )
      .reduce((a, b) => (b.mAP > a.mAP ? b : a))

  it("of the table are the means of the networks' metrics after the last epoch, beside each and the best of all", () => {
    const own = (tasks: ReadonlyArray<string>) => [
      ...metrics.map((name) => mean(tasks.map((task) => metric(task, name))).toFixed(1)),
      tasks.map((task) => metric(task, "mAP").toFixed(1)).join(" / ")
    ]
    expect(rowsOfTable()).toEqual([
      ["source-only", "–", ...own(["evaluate/source-only/student-1", "evaluate/source-only/student-2"]), "–"],
      ...adaptations.map(({ folder, name, networks }) => {
        const { epoch, mAP, network } = best(folder, networks)
        const tasks = networks.map((one) => `${folder}evaluate/epoch-003/${one}`)
        return [name, "3", ...own(tasks), `${mAP.toFixed(1)} (epoch ${epoch}, ${network})`]
      })
    ])
  })

  it.each(metrics)("of the curves are the metrics of every epoch: %s", (name) => {
    const { names, xs, columns } = chart(`score-${name.toLowerCase()}`)
    expect(xs).toEqual(["1", "2", "3"])
    const expected = adaptations.flatMap(({ folder, name: adaptation, networks }) => {
      const values = networks.map((network) =>
        epochs.map((epoch) => metric(`${folder}evaluate/${epoch}/${network}`, name))
      )
      const means = epochs.map((_, i) => mean(values.map((own) => own[i]!)))
      return [
        [adaptation, means],
        ...networks.map((network, i) => [`${adaptation} ${network}`, values[i]!] as const)
      ] as ReadonlyArray<readonly [string, ReadonlyArray<number>]>
    })
    const source = mean([1, 2].map((n) => metric(`evaluate/source-only/student-${n}`, name)))
    expect(Object.fromEntries(names.map((own, i) => [own, columns[i]]))).toEqual({
      ...Object.fromEntries(expected.map(([own, values]) => [own, values.map((value) => value.toFixed(1))])),
      "source-only": epochs.map(() => source.toFixed(1))
    })
  })
})

describe("losses", () => {
  const shown = { ce: "identity", tri: "triplet", softCe: "soft identity", softTri: "soft triplet", total: "total" }
  const isTerm = (column: string) => !["epoch", "iteration", "learningRate", "millis"].includes(column)

  it.each([
    ["pretrain", ["pretrain/student-1/epoch-00N", "pretrain/student-2/epoch-00N"], 2],
    ["hard", ["hard/train/epoch-00N"], 3],
    ["mmt", ["train/epoch-00N"], 3]
  ] as const)("of %s are those of every iteration, the mean of the networks", (phase, tasks, count) => {
    const { names, columns } = chart(`loss-${phase}`)
    const files = Array.from({ length: count }, (_, i) =>
      tasks.map((task) => rowsOf(run, task.replace("N", String(i + 1)), "train-metrics.arrow"))
    )
    for (const [term, title] of Object.entries(shown)) {
      const values = files.flatMap((own) =>
        own[0]!.map((_, row) => {
          const parts = own.flatMap((rows) =>
            Object.entries(rows[row]!).filter(([column]) => isTerm(column) && column.replace(/\d$/, "") === term)
          )
          return mean(parts.map(([, value]) => Number(value))).toFixed(4)
        })
      )
      if (values.includes("NaN")) expect(names).not.toContain(title)
      else expect(columns[names.indexOf(title)]).toEqual(values)
    }
  })
})

describe("clusters", () => {
  const labels = (folder: string, epoch: string) =>
    new Map(
      rowsOf(run, folder, "cluster", epoch, "pseudo-labels.arrow").map(({ image, label }) => [
        String(image),
        Number(label)
      ])
    )
  const people = () =>
    new Map(
      readdirSync(join(run, "decode/target-train")).flatMap((file) =>
        rowsOf(run, "decode/target-train", file).map(({ image, person }) => [String(image), Number(person)] as const)
      )
    )
  const count = (keys: ReadonlyArray<unknown>) =>
    [...Map.groupBy(keys, (key) => key).values()].map(({ length }) => length)
  /** 2·MI / (H + H), from probabilities. */
  const nmi = (pairs: ReadonlyArray<readonly [number, number]>) => {
    const share = (test: (pair: readonly [number, number]) => boolean) => pairs.filter(test).length / pairs.length
    const entropyOf = (keys: ReadonlyArray<number>) =>
      count(keys).reduce((sum, own) => sum - (own / keys.length) * Math.log(own / keys.length), 0)
    const cells = [...new Set(pairs.map((pair) => pair.join(" ")))].map((cell) => cell.split(" ").map(Number))
    const mutual = cells.reduce((sum, [a, b]) => {
      const both = share((pair) => pair[0] === a && pair[1] === b)
      return sum + both * Math.log(both / (share((pair) => pair[0] === a) * share((pair) => pair[1] === b)))
    }, 0)
    return (2 * mutual) / (entropyOf(pairs.map(([a]) => a)) + entropyOf(pairs.map(([, b]) => b)))
  }
  const stayed = (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>) => {
    const cells = [...Map.groupBy(before, ([image, label]) => `${label} ${after.get(image)}`)].map(([cell, own]) => {
      const [a, b] = cell.split(" ").map(Number) as [number, number]
      return { a, b, size: own.length }
    })
    const order = cells.sort((x, y) => y.size - x.size || x.a - y.a || x.b - y.b)
    const used = new Set<string>()
    return order.reduce((sum, { a, b, size }) => {
      const free = a < 0 || b < 0 ? a === b : !used.has(`a${a}`) && !used.has(`b${b}`)
      if (free) used.add(`a${a}`).add(`b${b}`)
      return free ? sum + size : sum
    }, 0)
  }
  const byAdaptation = (value: (folder: string, epoch: string, i: number) => string) =>
    adaptations.map(({ folder }) => epochs.map((epoch, i) => value(folder, epoch, i)))
  const clustered = (folder: string, epoch: string) => [...labels(folder, epoch).values()].filter((label) => label >= 0)

  it("are as many as the labels name", () => {
    const { names, columns } = chart("cluster-count")
    expect(names).toEqual(["hard", "mmt"])
    expect(columns).toEqual(byAdaptation((folder, epoch) => String(new Set(clustered(folder, epoch)).size)))
  })

  it("have the median and, in the last epoch, the sizes of their labels", () => {
    const sizes = (folder: string, epoch: string) => count(clustered(folder, epoch)).sort((a, b) => a - b)
    const median = (sorted: ReadonlyArray<number>) =>
      (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2
    expect(chart("cluster-size").columns).toEqual(
      byAdaptation((folder, epoch) => median(sizes(folder, epoch)).toFixed(1))
    )
    const { xs, columns } = chart("cluster-size-histogram")
    expect(columns).toEqual(
      adaptations.map(({ folder }) =>
        xs.map((size) => String(sizes(folder, "epoch-003").filter((own) => own === Number(size)).length))
      )
    )
  })

  it("leave out the outliers of their labels", () => {
    expect(chart("cluster-outliers").columns).toEqual(
      byAdaptation((folder, epoch) => {
        const own = [...labels(folder, epoch).values()]
        return ((100 * own.filter((label) => label < 0).length) / own.length).toFixed(1)
      })
    )
  })

  it("have purity and NMI against the identities, outliers left out", () => {
    const known = (folder: string, epoch: string) => {
      const identities = people()
      return [...labels(folder, epoch)]
        .filter(([, label]) => label >= 0)
        .map(([image, label]) => [label, identities.get(image)!] as const)
    }
    expect(chart("cluster-purity").columns).toEqual(
      byAdaptation((folder, epoch) => {
        const pairs = known(folder, epoch)
        const most = [...Map.groupBy(pairs, ([label]) => label).values()].map((own) =>
          Math.max(...count(own.map(([, person]) => person)))
        )
        return ((100 * most.reduce((a, b) => a + b)) / pairs.length).toFixed(1)
      })
    )
    expect(chart("cluster-nmi").columns).toEqual(byAdaptation((folder, epoch) => nmi(known(folder, epoch)).toFixed(3)))
  })

  it("lose as many images from epoch to epoch as are in no matched cluster", () => {
    expect(chart("label-churn").columns).toEqual(
      byAdaptation((folder, epoch, i) => {
        if (i === 0) return "–"
        const [before, after] = [labels(folder, epochs[i - 1]!), labels(folder, epoch)]
        return ((100 * (after.size - stayed(before, after))) / after.size).toFixed(1)
      })
    )
  })
})

describe("teachers", () => {
  it("are as far from their students as their tensors are", () => {
    const tensors = (epoch: string) =>
      new Map(
        rowsOf(run, "train", epoch, "checkpoint.arrow").map(({ network, name, data }) => [
          `${network} ${name}`,
          new Float32Array((data as Uint8Array).slice().buffer)
        ])
      )
    const { columns } = chart("teacher-distance")
    expect(columns).toEqual(
      [1, 2].map((n) =>
        epochs.map((epoch) => {
          const all = tensors(epoch)
          const pairs = [...all]
            .filter(([key]) => key.startsWith(`student-${n} `))
            .flatMap(([key, own]) =>
              [...own].map((value, i) => [value, all.get(key.replace("student", "teacher"))![i]!])
            )
          const apart = pairs.reduce((sum, [a, b]) => sum + (b! - a!) ** 2, 0)
          return (100 * Math.sqrt(apart / pairs.reduce((sum, [a]) => sum + a! ** 2, 0))).toFixed(2)
        })
      )
    )
  })
})

describe("ranking strips", () => {
  const ranked = (task: string) => Map.groupBy(rowsOf(run, task, "ranking.arrow"), ({ query }) => String(query))
  const methods = [
    ["source-only, student-1", "evaluate/source-only/student-1"],
    ["hard, epoch 3, student-1", "hard/evaluate/epoch-003/student-1"],
    ["mmt, epoch 3, teacher-1", "evaluate/epoch-003/teacher-1"]
  ] as const
  const precision = (rows: ReadonlyArray<Record<string, unknown>>) => {
    const ranks = rows.filter(({ match }) => match).map(({ rank }) => Number(rank))
    return mean(ranks.map((rank, i) => (i + 1) / rank))
  }
  const articles = () => [...document.querySelectorAll("article.query")]
  const queryOf = (article: Element) => article.querySelector("h4")!.textContent!

  it("have the ranks, verdicts and average precisions of the ranking", () => {
    expect(articles().length).toBe(22)
    for (const [i, [method, task]] of methods.entries()) {
      const rows = ranked(task)
      for (const article of articles()) {
        const strip = article.querySelectorAll(".strip")[i]!
        const own = rows.get(queryOf(article))!
        expect(strip.querySelector("p")!.textContent).toBe(
          `${method} AP ${(100 * precision(own)).toFixed(1)} %, first right image at rank ${own.find(({ match }) => match)!.rank}`
        )
        const items = [...strip.querySelectorAll("li:not(.junk)")].map((item) => [
          item.querySelector("img")!.getAttribute("title")!.split("\n")[0],
          item.className,
          item.querySelector("span")!.textContent
        ])
        expect(items).toEqual(
          own
            .filter(({ rank }) => Number(rank) <= 10)
            .map(({ gallery, match, rank }) => [gallery, match ? "right" : "wrong", `${rank} ${match ? "✓" : "✗"}`])
        )
      }
    }
  })

  it("go from the worst query by the last method", () => {
    const precisions = new Map([...ranked(methods[2][1])].map(([query, rows]) => [query, precision(rows)]))
    const sorted = [...precisions].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1)).map(([query]) => query)
    const queries = articles().map(queryOf)
    expect(queries.slice(0, 12)).toEqual(sorted.slice(0, 12))
    expect(queries.slice(-4)).toEqual(sorted.slice(-4).reverse())
  })

  it("have the junk where it lies, by its distance", () => {
    const vectors = (part: string) =>
      new Map(
        rowsOf(run, `embed/epoch-003/teacher-1-${part}`, "embeddings.arrow").map(
          ({ image, person, camera, embedding }) => [
            String(image),
            { person, camera, vector: [...(embedding as Iterable<number>)] }
          ]
        )
      )
    const [queries, gallery] = [vectors("query"), vectors("gallery")]
    let seen = 0
    for (const article of articles()) {
      const query = queries.get(queryOf(article))!
      const distance = (image: string) =>
        gallery.get(image)!.vector.reduce((sum, value, i) => sum + (value - query.vector[i]!) ** 2, 0)
      const items = [...article.querySelectorAll(".strip:last-child li")]
      const names = items.map((item) => item.querySelector("img")!.getAttribute("title")!.split("\n")[0]!)
      const distances = names.map(distance)
      for (const [i, own] of distances.entries()) expect(own).toBeGreaterThan((distances[i - 1] ?? 0) - 1e-6)
      for (const [i, item] of items.entries()) {
        const { person, camera } = gallery.get(names[i]!)!
        const junk = person === -1 || (person === query.person && camera === query.camera)
        expect(item.className === "junk").toBe(junk)
        if (junk) seen++
      }
    }
    expect(seen).toBeGreaterThan(10)
  })
})
