// Puts the live chart in the place of its still picture when the reader comes near it. Vega, 0.3 MB as sent, is asked
// for then and not before. Where it cannot be had the picture stays.
(() => {
  const library = new URL("vega.js", document.currentScript.src);
  const near = "600px";
  let loaded;

  function load() {
    loaded ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = library;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${library} could not be loaded`));
      document.head.append(script);
    });
    return loaded;
  }

  // Vega draws the controls as plain inputs. A group of radio buttons gets the name that only eyes connect with it.
  function nameGroups(stage) {
    for (const control of stage.querySelectorAll(".vega-bind")) {
      if (control.querySelector("input[type=radio]")) {
        control.setAttribute("role", "radiogroup");
        control.setAttribute("aria-label", control.querySelector(".vega-bind-name").textContent);
      }
    }
  }

  const layersOf = (spec) => [spec, ...(spec.layer ?? []).flatMap(layersOf)];

  // On a phone a sentence, or a long row of a legend, would be wider than the chart, which Vega then makes narrower: the
  // sentence stands above the chart instead, and a legend at the top has two columns.
  function fitToPhone(spec) {
    for (const layer of layersOf(spec)) {
      if (layer.name === "readout") {
        layer.mark = { ...layer.mark, limit: 1, opacity: 0 };
      }
      for (const channel of Object.values(layer.encoding ?? {})) {
        if (channel.legend?.orient === "top") {
          channel.legend.columns = 2;
        }
      }
    }
  }

  // What the chart says, whole, however much of it is drawn.
  function sentence(view) {
    const found = (mark) =>
      mark.name === "readout_marks" ? mark : (mark.items ?? []).map(found).find((inside) => inside);
    return found(view.scenegraph().root)?.items[0]?.text ?? "";
  }

  async function enliven(figure) {
    await load();
    const picture = figure.querySelector(".explorable-view img");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const stage = document.createElement("div");
    stage.className = "explorable-stage";
    picture.after(stage);
    const words = figure.querySelector(".explorable-words");
    if (words.checkVisibility()) {
      fitToPhone(spec);
    }
    const { view } = await window.vegaEmbed(stage, spec, { actions: false, mode: "vega-lite", renderer: "svg" });
    nameGroups(stage);
    words.textContent = sentence(view);
    picture.remove();
    figure.classList.add("live");

    const said = figure.querySelector(".explorable-said");
    const speak = async () => {
      await view.runAsync();
      words.textContent = sentence(view);
    };
    let writing, waiting;
    stage.addEventListener("input", () => {
      clearTimeout(writing);
      clearTimeout(waiting);
      writing = setTimeout(speak, 50);
      waiting = setTimeout(async () => {
        await speak();
        said.textContent = words.textContent;
      }, 500);
    });
  }

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) {
          observer.unobserve(target);
          enliven(target).catch(console.error);
        }
      }
    },
    { rootMargin: near },
  );
  document.querySelectorAll("figure.explorable").forEach((figure) => observer.observe(figure));
})();
