// What the page says, in each language; a node with data-word or data-label is filled from here.
export const words = {
  en: {
    title: "unrolled: the lab", skip: "To the text", language: "Language",
    lessonOpen: "The lesson", token: "This server wants its token", enter: "Enter", back: "Back", next: "Next",
    begin: "Now type", close: "Close the lesson", reading: "Type, and see it read",
    readingHint: "Every key goes to a session of the server, which keeps the hidden state alone. What you take back makes it begin anew.",
    model: "Model", compare: "Compare with", none: "no other", type: "Your text", symbol: "Symbol", unit: "Unit",
    unitLess: "The unit before", unitMore: "The unit after", clear: "Clear", writing: "Let it write",
    writingHint: "Each symbol is drawn from the probabilities of the next, and read in its turn. Low temperature: the likeliest; high: anything.",
    prompt: "Begin with", temperature: "Temperature", length: "Length", seed: "Seed", go: "Write", stop: "Stop",
    take: "Read what was written", written: "What the model writes", footer: "Everything here comes from this server, and stays with it.",
    connected: "The server answers.", gone: "The server is gone. Nothing you typed is lost; this page looks for it every second.",
    came: "The server is back; the text goes on.", wantsToken: "The server wants a token.",
    empty: "Type something above.", nothing: "—", axes: "One-hot, and the batch's axes", time: "time", feature: "feature",
    shape: (t, v) => `batch 1 × time ${t} × feature ${v}`,
    oneHot: (s, i, v) => `“${s}” is number ${i} of ${v}: one 1, and ${v - 1} times 0`,
    oneHotPicture: (t, v) => `One-hot rows of the last ${t} symbols, ${v} features each`,
    colouredTitle: "The text, in the colour of the unit", layer: "Layer", track: "State or gate", state: "state", gate: "gate", output: "output",
    colouredHelp: "Arrow keys, Home and End choose a symbol.",
    heatTitle: (units) => `All ${units} units over time`,
    heatHelp: (units, t) => `Heat map, ${units} units by the last ${t} symbols. Left and right choose the symbol, up and down the unit.`,
    gatesTitle: (unit) => `States and gates of unit ${unit}`, nextTitle: (s) => `What may come after “${s}”`, nextHelp: "Press one to type it.",
    taken: "What the text is taken for", add: (s, p) => `Type ${s}, ${p} percent`,
    surprise: (bits, exact) => `Mean surprise: ${exact ? "" : "at least "}${bits} bits a symbol, after the first.`,
    bytes: (n) => `Its session holds ${n} bytes.`, about: (m) => `${m.cell}, ${m.layers} layer${m.layers > 1 ? "s" : ""} of ${m.units} units, ${m.symbols.length} symbols`,
    said: (s, track, unit, value, next) => `“${s}” · ${track}, unit ${unit}: ${value} · next: ${next}`,
    refused: (error) => `The server says: ${error}`, writes: "Writing …", done: (n) => `Written: ${n} symbols.`, stopped: (n) => `Stopped after ${n} symbols.`,
    noWriter: "No model here writes; serve a language model.", space: "space", line: "new line", tab: "tab",
    steps: [
      ["1 of 7: Letters are numbers", "A network cannot read letters. So each letter that occurs gets a number. Our words are hello, eolll and lleel; four letters occur."],
      ["2 of 7: A number is a one-hot row", "As many features as letters, all 0 but one. So no letter is nearer to another than to a third."],
      ["3 of 7: One tensor, three axes", "Three words of five letters of four features, stacked: batch 3, time 5, feature 4."],
      ["4 of 7: The layer", "RNN(input_size=4, hidden_size=2), seed 0. At each step h = tanh(W x + b + R h₋₁ + c). Hidden size is output size; batch and time are read off the tensor. Two numbers are all it remembers."],
      ["5 of 7: One tensor, two readings", "Which axis is time? torch.nn's layers take the FIRST for it unless told otherwise, and no error tells. A Batch in unrolled knows its axes. Choose a reading; both are numbers for hello."],
      ["6 of 7: Who follows whom", "Read along the first axis, each letter of hello is the first step of a sequence that goes on down the words. Only along the letters does e know of the h before it. Three emotions to tell apart? Make the hidden size 3."],
      ["7 of 7: Your turn", "A trained model does the same with more units. Type below: with each key one more row is read, and the state, the gates and what may come next move."],
    ],
    along: "along the letters (a Batch)", across: "along the first axis, the words (torch.nn's default)",
    reads: "Reading", letter: "letter", number: "number", afterLetter: (word) => `outputs of ${word}`, before: "read before it",
    first: "nothing: it is the first", differs: "A bar marks the rows that differ between the readings.",
  },
  ko: {
    title: "unrolled 실험실", skip: "글 쓰는 곳으로", language: "언어",
    lessonOpen: "수업", token: "이 서버의 토큰을 넣으세요", enter: "들어가기", back: "이전", next: "다음",
    begin: "이제 써 보기", close: "수업 닫기", reading: "글을 쓰고, 읽는 모습을 보기",
    readingHint: "누르는 글자마다 서버의 세션으로 갑니다. 세션은 은닉 상태만 간직하므로, 지우면 처음부터 다시 읽습니다.",
    model: "모델", compare: "비교할 모델", none: "없음", type: "글", symbol: "기호", unit: "유닛",
    unitLess: "앞 유닛", unitMore: "다음 유닛", clear: "비우기", writing: "모델에게 쓰게 하기",
    writingHint: "다음 기호의 확률에서 하나를 뽑고, 그것을 다시 읽습니다. 온도가 낮으면 가장 그럴듯한 것, 높으면 무엇이든 나옵니다.",
    prompt: "시작하는 말", temperature: "온도", length: "길이", seed: "시드", go: "쓰기", stop: "멈추기",
    take: "쓴 글을 읽히기", written: "모델이 쓴 글", footer: "이곳의 모든 것은 이 서버에서 오고, 이 서버에만 머뭅니다.",
    connected: "서버가 응답합니다.", gone: "서버가 사라졌습니다. 쓴 글은 그대로 있으며, 이 페이지가 1초마다 서버를 찾습니다.",
    came: "서버가 돌아왔습니다. 글을 이어서 읽습니다.", wantsToken: "서버가 토큰을 요구합니다.",
    empty: "위에 글을 써 보세요.", nothing: "—", axes: "원-핫, 그리고 배치의 축", time: "시간", feature: "특징",
    shape: (t, v) => `배치 1 × 시간 ${t} × 특징 ${v}`,
    oneHot: (s, i, v) => `“${s}”의 번호는 ${v}개 가운데 ${i}: 1이 하나, 0이 ${v - 1}개`,
    oneHotPicture: (t, v) => `마지막 기호 ${t}개의 원-핫 행, 특징 ${v}개씩`,
    colouredTitle: "유닛의 색으로 칠한 글", layer: "층", track: "상태나 게이트", state: "상태", gate: "게이트", output: "출력",
    colouredHelp: "화살표 키, Home, End로 기호를 고릅니다.",
    heatTitle: (units) => `시간에 따른 유닛 ${units}개`,
    heatHelp: (units, t) => `히트맵: 유닛 ${units}개, 마지막 기호 ${t}개. 왼쪽과 오른쪽은 기호, 위와 아래는 유닛을 고릅니다.`,
    gatesTitle: (unit) => `유닛 ${unit}의 상태와 게이트`, nextTitle: (s) => `“${s}” 다음에 올 수 있는 것`, nextHelp: "누르면 그 기호를 씁니다.",
    taken: "글에 대한 판단", add: (s, p) => `${s} 쓰기, ${p}퍼센트`,
    surprise: (bits, exact) => `평균 놀람: 첫 기호 뒤로 기호마다 ${exact ? "" : "적어도 "}${bits}비트.`,
    bytes: (n) => `세션의 크기는 ${n}바이트입니다.`, about: (m) => `${m.cell}, 유닛 ${m.units}개의 층 ${m.layers}개, 기호 ${m.symbols.length}개`,
    said: (s, track, unit, value, next) => `“${s}” · ${track}, 유닛 ${unit}: ${value} · 다음: ${next}`,
    refused: (error) => `서버의 답: ${error}`, writes: "쓰는 중 …", done: (n) => `기호 ${n}개를 썼습니다.`, stopped: (n) => `기호 ${n}개를 쓰고 멈췄습니다.`,
    noWriter: "글을 쓰는 모델이 없습니다. 언어 모델을 서버에 올리세요.", space: "빈칸", line: "줄 바꿈", tab: "탭",
    steps: [
      ["1/7: 글자는 번호입니다", "신경망은 글자를 읽지 못합니다. 그래서 나오는 글자마다 번호를 줍니다. 단어는 hello, eolll, lleel이고, 글자는 네 가지입니다."],
      ["2/7: 번호는 원-핫 행입니다", "글자 수만큼의 특징 가운데 하나만 1이고 나머지는 0입니다. 그래서 어느 두 글자도 더 가깝지 않습니다."],
      ["3/7: 텐서 하나, 축 셋", "특징 4개인 글자 5개로 된 단어 3개를 쌓았습니다: 배치 3, 시간 5, 특징 4."],
      ["4/7: 층", "RNN(input_size=4, hidden_size=2), 시드 0. 걸음마다 h = tanh(W x + b + R h₋₁ + c). 은닉 크기가 출력 크기이고, 배치와 시간은 텐서에서 읽습니다. 기억하는 것은 수 두 개뿐입니다."],
      ["5/7: 텐서 하나, 두 가지 읽기", "어느 축이 시간일까요? torch.nn의 층은 말해 주지 않으면 첫 축을 시간으로 여기고, 오류도 내지 않습니다. unrolled의 Batch는 제 축을 압니다. 읽는 방법을 고르세요. 둘 다 hello의 수입니다."],
      ["6/7: 누가 누구 뒤에 오는가", "첫 축을 따라 읽으면 hello의 글자는 저마다 단어들을 타고 내려가는 순서의 첫 걸음이 됩니다. 글자를 따라 읽어야 e가 앞의 h를 압니다. 감정 세 가지를 가리려면 은닉 크기를 3으로 하세요."],
      ["7/7: 이제 여러분 차례", "학습한 모델은 더 많은 유닛으로 같은 일을 합니다. 아래에 써 보세요. 누를 때마다 한 행을 더 읽고, 상태와 게이트와 다음에 올 것이 움직입니다."],
    ],
    along: "글자를 따라 (Batch)", across: "첫 축인 단어를 따라 (torch.nn의 기본)",
    reads: "읽는 방법", letter: "글자", number: "번호", afterLetter: (word) => `${word}의 출력`, before: "그 앞에 읽은 것",
    first: "없음: 첫 기호", differs: "막대가 있는 행은 두 읽기에서 서로 다릅니다.",
  },
};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
if (!(language in words)) language = "en";

export const current = () => language;
export const say = (name, ...given) => {
  const word = words[language][name];
  return typeof word === "function" ? word(...given) : word;
};

export function speak(chosen) {
  language = chosen;
  localStorage.setItem("language", chosen);
  document.documentElement.lang = chosen;
  document.title = say("title");
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
}
