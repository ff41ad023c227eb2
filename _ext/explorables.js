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

  async function enliven(figure) {
    await load();
    const picture = figure.querySelector(".explorable-view img");
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const stage = document.createElement("div");
    stage.className = "explorable-stage";
    picture.after(stage);
    const { view } = await window.vegaEmbed(stage, spec, { actions: false, mode: "vega-lite", renderer: "svg" });
    nameGroups(stage);
    picture.remove();
    figure.classList.add("live");

    const said = figure.querySelector(".explorable-said");
    let waiting;
    stage.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(async () => {
        await view.runAsync();
        said.textContent = stage.querySelector(".readout_marks")?.textContent ?? "";
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
