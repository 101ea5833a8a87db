/** Questions to the small run: trace, diff, SQL and its export, each as a command. Called by audit.test.ts, which has made the run. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { tableFromIPC } from "apache-arrow"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { diffRuns } from "#audit/difference.ts"
import { asking, openDatabase } from "#audit/duckdb.ts"
import { openRun } from "#audit/open-run.ts"
import { runTables } from "#audit/sql-tables.ts"
import { type ImageTrace, traceImage } from "#audit/trace.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { mmt, partials } from "../commands/mmt.ts"
import { copyOf, forge } from "./small-run.ts"

export const questions = (home: () => string) => {
  const ask = async (...args: ReadonlyArray<string>) => {
    const ended = await mmt(home(), ...args)
    expect(ended.code, ended.err).toBe(0)
    return ended.out
  }
  const sql = (query: string, ...flags: ReadonlyArray<string>) => ask("sql", "runs/small", query, ...flags)
  const small = () => openRun(join(home(), "runs/small"))
  /** A query's rows as text, without a process of its own. */
  const answer = (query: string, ...shown: ReadonlyArray<string>) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const connection = yield* openDatabase(runTables(yield* small()), ({ name }) => shown.includes(name))
        const result = yield* asking(() => connection.runAndReadAll(query))
        return result.getRows().map((row) => row.map(String))
      }).pipe(Effect.scoped)
    )
  const traced = async (image: string): Promise<ImageTrace> => {
    const [first] = await Effect.runPromise(Effect.flatMap(small(), (run) => traceImage(run, image)))
    return first!
  }

  describe("mmt sql", () => {
    it("lists the artifacts as tables", async () => {
      const [, ...names] = (await sql("show tables", "--csv")).trimEnd().split("\n")
      expect(names).toEqual([
        ...["centroids", "checkpoint", "embeddings", "images", "metrics", "pseudo_labels", "ranking"],
        ...["tap_batches", "tap_networks", "teacher_updates", "train_metrics"]
      ])
    })

    it("joins them by what their folders say", async () => {
      const rows = await answer(
        "select l.epoch, count(*), count(distinct label) from pseudo_labels l join images i using (image) where i.split = 'target-train' group by all order by all"
      )
      expect(rows).toEqual([
        ["1", "36", "5"],
        ["2", "36", "5"]
      ])
      expect(
        await answer("select variant, epoch, network, round(value, 6) from metrics where name = 'queries' order by all")
      ).toEqual([
        ["mmt", "2", "teacher-1", "9"],
        ["mmt", "2", "teacher-2", "9"],
        ["source-only", "null", "student-1", "9"],
        ["source-only", "null", "student-2", "9"]
      ])
    })

    it("gives vectors, pixels and weights where they are named, as they are in the files", async () => {
      const { batches } = tableFromIPC(
        readFileSync(join(home(), "runs/small/embed/epoch-002/target-train/embeddings.arrow"))
      )
      const own = [...batches[0]!.getChild("embedding")!.get(3)!]
      const file = join(home(), "answer.arrow")
      const query = `select image, embedding, epoch from embeddings where epoch = 2 and split = 'target-train' limit 4`
      expect(await sql(query, "--arrow", file)).toBe(`${file}: 4 rows\n`)
      const written = tableFromIPC(readFileSync(file))
      expect(written.schema.fields.map(({ name, type }) => [name, String(type)])).toEqual([
        ["image", "Utf8"],
        ["embedding", "FixedSizeList[8]<Float32>"],
        ["epoch", "Int32"]
      ])
      expect([...written.getChild("embedding")!.get(3)!]).toEqual(own)
      expect(await answer("select distinct octet_length(pixels) from images", "pixels")).toEqual([["1536"]])
      expect((await answer("describe images")).map(([column]) => column)).not.toContain("pixels")
    })

    it("prints a table; losses that a phase does not have are null", async () => {
      const out = await sql("select task, iteration, softCe1 from train_metrics where epoch = 1 order by all limit 3")
      expect(out).toMatch(/^task +iteration +softCe1\npretrain\/student-1\/epoch-001 +0 +null\n/)
      expect(out).toMatch(/\n\n3 rows\n$/)
    })

    it.each([
      ["select * from read_csv('/etc/passwd')", "file system operations are disabled"],
      ["select * from read_text('small.yaml')", "file system operations are disabled"],
      ["copy images to 'images.parquet'", "file system operations are disabled"],
      ["attach 'other.db'", "file system operations are disabled"],
      ["set enable_external_access = true", "the configuration has been locked"],
      ["load httpfs", "Loading external extensions is disabled"],
      ["select nothing from images", '"nothing" not found']
    ])("refuses %s", async (query, problem) => {
      await expect(answer(query)).rejects.toThrow(problem)
    })

    it("says why DuckDB refuses a query, and ends with 1", async () => {
      const { code, err } = await mmt(home(), "sql", "runs/small", "select * from read_csv('/etc/passwd')")
      expect(code).toBe(1)
      expect(err).toMatch(/^Permission Error: Cannot access file "\/etc\/passwd"/)
      expect(err).not.toMatch(/^ +at /m)
    })
  })

  describe("mmt export parquet", () => {
    it("writes every table, which DuckDB reads as it was", async () => {
      const out = await ask("export", "parquet", "runs/small", "--out", "parquet")
      expect(out).toContain("parquet/pseudo_labels.parquet: 72 rows\n")
      expect(out.trimEnd().split("\n")).toHaveLength(11)
      const duckdb = await import("@duckdb/node-api")
      const connection = await (await duckdb.DuckDBInstance.create(":memory:")).connect()
      const file = join(home(), "parquet/embeddings.parquet")
      const { columns } = { columns: (await connection.runAndReadAll(`describe from '${file}'`)).getRowsJson() }
      expect(columns.map(([name]) => name)).toContain("embedding")
      const [row] = (
        await connection.runAndReadAll(
          `select count(*), min(list_sum(list_transform(embedding::float[], lambda x: x * x))) from '${file}'`
        )
      ).getRowsJson()
      expect(row![0]).toBe((await answer("select count(*) from embeddings"))[0]![0])
      expect(row![1]).toBeCloseTo(1, 5)
      expect(partials(join(home(), "parquet"))).toEqual([])
    })
  })

  describe("mmt trace", () => {
    it("follows a training image: shard, embeddings, clusters, and batches as the tap kept them", async () => {
      const image = "0002_c1s1_000001_01.jpg"
      const [trace] = JSON.parse(
        await ask("trace", "runs/small", `target-train/bounding_box_train/${image}`, "--json")
      ) as [ImageTrace]
      expect(trace).toMatchObject({
        split: "target-train",
        person: 2,
        camera: 1,
        file: "decode/target-train/part-00000.arrow"
      })
      expect(trace.embeddings.map(({ epoch, norm }) => [epoch, norm.toFixed(5)])).toEqual([
        [1, "1.00000"],
        [2, "1.00000"]
      ])
      for (const { epoch, label, images } of trace.clusters)
        expect(
          await answer(
            `select any_value(label) filter (image = '${trace.image}'), count(*) filter (label = ${label}) from pseudo_labels where epoch = ${epoch}`
          )
        ).toEqual([[String(label), String(images)]])
      const tapped = await answer(
        `select epoch, count(*) from tap_batches where variant = 'mmt' and "view" = 0 and image = '${trace.image}' group by all`
      )
      const kept = trace.batches.map(({ epoch, iterations }) => [
        String(epoch),
        String(iterations.filter((i) => i % 2 === 0).length)
      ])
      expect(kept.filter(([, times]) => times !== "0").sort()).toEqual(tapped.sort())
    })

    it("gives a query's rank list, and the queries of a gallery image", async () => {
      const [[query, gallery]] = (await answer(
        "select query, gallery from ranking where variant = 'mmt' and network = 'teacher-1' and rank = 1 order by query limit 1"
      )) as [[string, string]]
      const asked = await traced(query)
      const own = asked.asQuery.find(({ variant, network }) => variant === "mmt" && network === "teacher-1")!
      expect(own.list[0]).toMatchObject({ rank: 1, gallery })
      const found = await traced(gallery)
      const listed = found.asGallery.find(({ variant, network }) => variant === "mmt" && network === "teacher-1")!
      expect(listed.queries).toContainEqual(expect.objectContaining({ query, rank: 1 }))
      const text = await ask("trace", "runs/small", query)
      expect(text).toMatch(
        /^query\/.* \(target-query\): person \d+, camera \d\ndecode\/target-query\/part-00000\.arrow, row \d+\n\nembeddings\n/
      )
      expect(text).toContain("\n\nas a query\n")
    })

    it("says where no image is called so, and where there is no run", async () => {
      await expect(traced("nobody.jpg")).rejects.toThrow('image "nobody.jpg": the run has no such image')
      const { code, err } = await mmt(home(), "trace", "small.yaml", "nobody.jpg")
      expect({ code, err }).toEqual({ code: 1, err: "small.yaml: is not a run's folder: it has no run.yaml\n" })
    })
  })

  describe("mmt diff", () => {
    it("tells settings, scores, artifacts and labels apart", async () => {
      const other = copyOf(home())
      const file = join(other, "run.yaml")
      writeFileSync(file, readFileSync(file, "utf8").replace("every: 2", "every: 1"))
      const labels = "cluster/epoch-001/pseudo-labels.arrow"
      await forge(other, labels, (batch) => {
        const { image, label } = viewOf(pseudoLabels, batch)
        return batchOf(
          pseudoLabels,
          { image, label: Int32Array.from(label, (one, i) => (i === 0 ? (one + 1) % 5 : one)) },
          { classes: 5 }
        )
      })
      const difference = await Effect.runPromise(
        Effect.gen(function* () {
          return yield* diffRuns(yield* small(), yield* openRun(other))
        })
      )
      // The copy's run file, in another place, names another place of the data.
      const settings = difference.settings.filter(({ key }) => !key.endsWith(".root"))
      expect(settings).toEqual([{ key: "evaluate.every", a: 2, b: 1 }])
      const scored = difference.scores.filter(({ metric }) => metric === "mAP")
      expect(scored.map(({ name, epoch, a, b }) => [name, epoch, a === b])).toEqual([
        ["source-only", 0, true],
        ["mmt", 2, true]
      ])
      const clustered = difference.artifacts.find(({ variant, stage }) => variant === "mmt" && stage === "cluster")
      expect(clustered).toMatchObject({ same: 3, different: 1, onlyA: 0, onlyB: 0, first: labels })
      expect(difference.labels).toEqual([
        { variant: "mmt", epoch: 1, images: 36, nmi: expect.any(Number), moved: 1 },
        { variant: "mmt", epoch: 2, images: 36, nmi: expect.closeTo(1, 12), moved: 0 }
      ])
      expect(difference.labels[0]!.nmi).toBeLessThan(1)
      expect(difference.churn.a).toMatchObject([{ variant: "mmt", epoch: 2, images: 36 }])
    })

    it("prints it as tables", async () => {
      const out = await ask("diff", "runs/small", "runs/small")
      expect(out).toMatch(/^settings: the same\n\nscores, %\n/)
      expect(out).toMatch(
        /\npseudo labels of runs\/small and runs\/small\nadaptation +epoch +NMI +moved +images\nmmt +1 +1\.000 +0 +36\n/
      )
    })
  })
}
