"""What words say about a request: the tables of the classifier, as data.

`WORDS`: capability -> weight -> words; a word that ends in `*` is a stem of at least four letters. `PHRASES`: the same for runs of
characters, found anywhere (also for languages that put no spaces between words). English first, then German, French, Spanish, Italian,
Portuguese, Russian, Chinese and Japanese, as far as short requests go. Lower case throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from fleet.serving import Capability

Signs: TypeAlias = Mapping[Capability, Mapping[float, str]]

LANGUAGES: Final = (
    "english german french spanish italian portuguese dutch swedish polish russian chinese mandarin japanese korean arabic "
    "turkish latin greek hindi englisch* deutsch* französisch* spanisch* italienisch* polnisch* anglais allemand français "
    "espagnol inglés alemán francés español inglese tedesco francese inglês английск* немецк* hungarian danish norwegian "
    "finnish czech slovak romanian bulgarian ukrainian croatian serbian hebrew persian farsi urdu bengali thai vietnamese "
    "indonesian malay tagalog swahili catalan basque irish welsh icelandic esperanto cantonese brazilian ungarisch* "
    "türkisch* arabisch* chinesisch* japanisch* russisch* portugiesisch* niederländisch* schwedisch* russe chinois arabe "
    "italien portugais néerlandais ruso chino árabe italiano portugués japonés coreano russo cinese giapponese portoghese "
    "испанск* французск* китайск* 英语 日语 法语"
)
PROGRAMMING: Final = (
    "python java javascript typescript rust golang kotlin swift php ruby perl scala haskell sql bash powershell html css "
    "react vue angular django flask fastapi express mongodb postgres docker dockerfile kubernetes terraform ansible numpy "
    "pandas pytest git awk sed regex regexp node.js npm yarn pip maven gradle makefile cmake kubectl helm nginx redis "
    "graphql sqlite mysql postgresql oracle vba excel-macro powershell fortran cobol assembly wasm webpack vite tailwind "
    "svelte nextjs nest spring hibernate dotnet .net linq matlab julia lua elixir erlang clojure dart flutter android xcode "
    "swiftui opencv pytorch tensorflow scikit-learn spark airflow kafka rabbitmq grpc protobuf vim emacs tmux latex github "
    "gitlab goroutine goroutines mutex selenium playwright jest"
)

WORDS: Final[Signs] = {
    "translation": {
        5.0: "translate translates translating back-translate übersetz* tradui* traduc* traduz* переве* localise localize",
        4.0: "translation subtitles vertaal traduire traduction übersetzung tradução traducción traduzione перевод",
    },
    "summarization": {
        5.0: "summar* summaris* tldr tl;dr zusammenfass* résum* riassum* condense recap gist kurzfassung digest перескаж* resume",
        3.0: "takeaways essentials shorten abstract minutes overview zusammen outline",
        1.0: "brief transcript article bullet text thread notes",
        4.0: "synopsis synthèse síntesi sintesi síntese zusammenfassung kurzversion resumen resumir resumo riassunto краткое "
        "shorter compress distil distill précis abridge condensed digested",
        2.0: "highlights briefly shortened bullets passage excerpt paragraph minutes stichpunkten stichpunkte protokoll essence "
        "crux main transcript memo decisions action items facts version short shorter shortlist",
    },
    "code_generation": {
        3.0: f"{PROGRAMMING} traceback segfault* docstring stacktrace middleware stylesheet",
        2.5: "function script skript programm programa fonction función funktion funzione refactor debug compile compiler* "
        "endpoint* endpoints cron api apis codebase linked recursion recursive async backend frontend generator функци* "
        "codes coding crashloopbackoff panic stderr stdout localhost segmentation syntaxerror importerror indexerror "
        "runtimeerror eresolve enoent lambda decorator callback callbacks closure regexes subroutine constructor parser "
        "lexer tokenizer webhook oauth jwt cli sdk ide linter microservice serverless crud orm schema dataframe pointer "
        "pointers heap hashmap hashtable dictionary dictionaries tuple enum struct typedef goto stdin argv kwargs variable "
        "variables namespace macro macros makro skripte código codice codigo метод код программ* 代码 abfrage "
        "datenbankabfrage snippet complexity useeffect usestate await playbook csv gitignore klasse methoden jointure "
        "pattern observer singleton thread-safe ci",
        2.0: "implement code bug method class component query array loop repository commits unittest algorithm* module struct "
        "boolean integer typeerror valueerror keyerror nullpointerexception exception assertionerror null undefined mutable "
        "workflow dependency dependencies package install import imports thread threads socket request header headers json "
        "yaml xml csv-file unicode encode decode hash cache button click form input validation branch merge commit rebase "
        "deploy build compiler library framework plugin websocket retries backoff columns rows index",
        1.0: "program algorithm string strings list test tests fix parse parses sort reverse deploy server database",
    },
    "creative_writing": {
        3.5: "poem poems haiku limerick sonnet lyrics slogan screenplay fairytale gedicht geschichte poème conte cuento poesia "
        "poema racconto стих* рассказ* monologue ballad toast rhyme myth fable bedtime tagline jingle poetic histoire "
        "erzählung verse verses rap sonett ode anecdote superhero legend légende leggenda leyenda liebesgedicht gedichte "
        "kurzgeschichte märchen lied songtext obituary parody satire nouvelle récit scénario guion canción versos "
        "filastrocca fiaba sitcom backstory memoir jingles mystery romance sci-fi 小说 诗歌",
        2.5: "story stories song novel dialogue dialog speech rede letter blog e-mail email tweet essay character villain "
        "thriller sketch pun cover press-release landlord caption catchy invent compose chapter prologue epilogue titles "
        "title headline headlines invitation greeting card postcard eulogy vows apology note ad copy copywriting newsletter "
        "linkedin instagram facebook podcast brochure flyer mascot brand hero heroine plot-twist dragon wizard witch "
        "vampire pirate kingdom ghost brief-bio biography bio pitch plot protagonist motto personaje einladung hochzeit "
        "reimen lettre motivation farewell congratulat* shanty imaginary fable nickname toast",
        1.5: "write draft schreib* écris escribe scrivi напиши create rewrite names style funny scene describe description "
        "continue imagine pen fictional imaginary invente inventa erfinde erfinden whimsical humorous heartfelt witty "
        "playful romantic dramatic cheerful finish tale",
    },
    "analysis": {
        4.0: "analy* analis* анализ* проанализ* swot",
        3.0: "compare evaluate assess critique examine interpret vergleich* bewert* compar* confront* sentiment insights "
        "strengths weaknesses trade-offs implications ventajas desventajas vantaggi vorteile nachteile trends root "
        "fallacies contrast judge correlate correlation correlations avantages inconvénients inconvenientes contras "
        "analytical critically critical diagnose benchmark feasibility viability scrutinize scrutinise appraise hypothesize "
        "outliers anomalies anomaly outlier symbolism unterschiede gegenüberstell* сравни сравните оцен* 比较 评估 tone complain",
        2.0: "pros cons trend patterns factors causes ursachen risks impact consequences identify classify review discuss data "
        "results survey worth weigh ethical argument theme breakdown recommendation suits better choose versus difference "
        "differences similarities drop dropped decline declined increase increased affect affects effect effects influence "
        "consider proposal balance debt margin market markets forecast segment segments conversion retention cohort kpi "
        "competitors strategy spricht convincing healthy weak evidence bias interpretation themes motifs perspective "
        "viewpoint hypothesis significance significant variables table chart graph dataset feedback reviews complaints "
        "quarter redesign billing conclusions role power fail failed success funnel onboarding experience candidates "
        "drawbacks advantages explanations chiffres conclusion stärken schwächen savings inflation chorus lebenslauf",
        1.0: "report sales churn revenue metrics costs statistics policies shape",
    },
    "complex_reasoning": {
        4.0: "prove proof derive deduce deduction induction beweis* démontr* demuestr* dimostr* dokaz* докаж* theorem puzzle "
        "riddle paradox integral irrational probability equilibrium knights knaves rigorous converges convergence "
        "contradiction lemma corollary proposition axiom combinatorics permutations eigenvalue eigenvalues derivative "
        "derivatives limit bijection modulo primes raisonnement ragionamento razonamiento razona дока* lügt lügner rätsel "
        "énigme acertijo indovinello chessboard prisoners determinant abzählbar countable inductive syllogism",
        2.5: "reasoning logic* logical solve step-by-step minimum maximum optimal divisible integers equation counterfeit "
        "justify weighings formula reason raisonnement schritt paso calculate compute determine maximises maximizes "
        "minimise minimize largest smallest expected exactly infer inference conclude consistent equations inequality "
        "triangle polynomial matrix litres liters jug jugs boxes lamps sequence pattern moves weigh argue "
        "argument-carefully hypothetically ages toss coin coins dice drawer socks sum odds tank pipe fills empties overtake",
        1.5: "integration continuous minutes train trains older younger older constraints schedule necessarily show suppose "
        "given must probability coins integer always truth lie rate doubles exactly find measure each every none both "
        "remaining total twice half heavier lighter faster slower row steps",
    },
    "general": {
        3.0: "hello hi hey hola bonjour hallo thanks thank danke merci gracias joke привет ciao moin evening morning night bye "
        "goodbye welcome salut servus добрый привіт ok okay lol nice-to-meet thx ty cheers sorry obrigado grazie",
        2.5: "recommend* suggest advice tips empfehl* recomiend* sad feel hobbies birthday workout motivation recipe weekend "
        "trip gift present ideas idea hobby diet relationship friend friends boyfriend girlfriend stressed lonely anxious "
        "bored tired depressed happy kids children vegetables plants garden pets dog rain visit travel vacation holiday "
        "restaurant restaurants movie movies film films series book books music meditation sleep einschlafen hilft tipps "
        "consejo conseils consigli regalo cadeau geschenk советуешь посоветуй wear wedding-guest decide buddy terrible day "
        "kochen abend película heute adult routine",
        1.5: "should help cook tonight game buy learning today plan good nice best enjoy favorite favourite like love",
    },
    "simple_qa": {
        2.5: "capital currency define population invented symbol deepest tallest highest oldest atomic headquarters president "
        "inventor founder année anno jahr continentes continents ocean river mountain",
        1.5: "year boiling planet date author tall abbreviation",
        1.0: "first number country city color colour lists list name many much old far deep long high",
    },
}

PHRASES: Final[Signs] = {
    "translation": {
        5.0: "how do you say|wie sagt man|comment dit-on|cómo se dice|翻译|翻訳|come si dice|como se diz|say this in|"
        "version of this in|译成|译为|翻成|übertragen|ins deutsche|ins englische|ins spanische|ins französische|en inglés|"
        "en español|en français|in italiano|native speaker",
        3.0: 'put this into|word for |mean in english|render this|" in |” in |» in |language version|to english|into english|in english',
        4.0: "the japanese for|the german for|the french for|the spanish for|the italian for|the chinese for|the latin for|"
        "the russian for|in plain french|translate to|translate into|this letter from",
    },
    "summarization": {
        5.0: "tl;dr|in a nutshell|key points|main points|most important points|main takeaways|sum up|boil this down|总结|要約|fasse |"
        "summing up|main arguments|executive summary|no time to read",
        3.0: "in one sentence|single sentence|bullet points|in three sentences|the following text|siguiente texto|следующий текст",
        4.0: "shorter|in a few words|in short|read it for me|most important|must know|what is this text about|what does it say|"
        "in one paragraph|one-paragraph|tl dr|core message|synopsis|auf den punkt|in kürze|in breve|en bref|"
        "en pocas palabras|摘要|概括|まとめ|short version|into a short list|short list of|action items|main ideas|what this long|"
        "wants from me|in two sentences|in three sentences|in five bullets|facts in this",
        2.0: "the text below|passage|this article|this text|this report|this email|this thread|this paper|this document|"
        "following text|following passage|following article|below into|ce texte|ce rapport|este texto|esta noticia|"
        "questo testo|folgenden text",
    },
    "code_generation": {
        4.0: "```|def |#include|public class|console.log|import numpy|select * from|select name|traceback (most|=> {|();|"
        "stack trace|unit test|=> |->|npm |pip install|git |sudo |chmod|docker |#!/|</|/>|&&| == |!= |==|===|::|std::|0x|"
        "localhost:|.py|.js|.ts|.java|.cpp|.sh|.yaml|.yml|.json file|error:|exception:|not defined|undefined reference|"
        "stack overflow|thread pool|worker pool|data structure|design pattern|command line|pull-request|merge conflict|"
        "environment variable|source code|web page|html form|primary key|foreign key|null pointer|github action|ci pipeline|"
        "programmier|en python|quellcode|time complexity|go program|c program|//=|+=|error handling|does not compile|"
        "won't compile|no module named|.gitignore|.env",
        3.0: " in c++| in go|c# |linked list|list comprehension|type hints|shell script|pull request|rest api|写一个函数|函数|関数|скрипт|"
        "for loop|);|int main|return ",
    },
    "creative_writing": {
        4.0: "once upon a time|short story|fairy tale|press release|love letter|wedding toast|product description|blog post|"
        "cover letter|诗|写一首|故事|物語を|opening scene|song lyrics|opening line|come up with|make up a|write a story|write a song|"
        "write a scene|apology note|thank-you|thank you note|birthday card|ad copy|titles for|names for|name for my|"
        "first chapter|continue the story|finish this story|in the style of|linkedin post|social media post|"
        "instagram caption|imagine a|imagine you are|pretend you|role play|一个故事|写一个故事|短歌|俳句|a name and|name for our|"
        "alternative ending|this boring sentence|something dramatic|ghost story|farewell message",
    },
    "analysis": {
        4.0: "pros and cons|strengths and weaknesses|root cause|a/b test|分析|優缺點|优缺点|what trends|what patterns|based on the data|"
        "trade-off|advantages and disadvantages|points of failure|which one suits|break down|for and against|advantages and|"
        "avantages et|ventajas y|vantaggi e|vor- und nachteile|spricht für|was spricht|difference between|"
        "differences between|compared to|compared with|how convincing|weak spots|why did our|why is our|why are our|"
        "what explains|which variables|critical reading|good idea for us|how might|how would|how does the|complain about|"
        "better for|versus| vs | vs. |cost-benefit|risk assessment|impact of|effects of|consequences of|tell me how healthy|"
        "why did the|why do |why does the|warum |pourquoi les|por qué los|explain the role|what it says about|"
        "what does it tell|conclusions|which explanations|what would tell|how does inflation|differ from|weak points|"
        "passive-aggressive|tone of",
    },
    "complex_reasoning": {
        4.0: "step by step|schritt für schritt|paso a paso|étape par étape|show your work|show that|prove that|think carefully|"
        "reason it|reason from|walk me through|一步一步|推理|every step|how long would it take|knights,|by induction|work out why|"
        "explain your reasoning|minimum total|argue carefully|give a rigorous|find the largest|find the smallest|find all|"
        "determine whether|how can you measure|expected number|how many ways|in how many|prove or disprove|if and only if|"
        "for all n|for every|explain how you get|logic puzzle|always lie|tells the truth|always tells|one of them|"
        "exactly one|détaille|schrittweise|begründe|justifica|dimostra|докажи|what time is it|what is the next|next number|"
        "who is lying|without replacement|minimum number|maximum number|least number|greatest number|trolley|twice as old|"
        "how old are they|comes next|explain the rule|how many must|to be certain|on average|by contradiction|"
        "explicando cada|when is it full|what place am i|führe den beweis",
        2.0: "how many are left|what is the probability|if all |what are they|all but |at least one|and justify",
    },
    "general": {
        4.0: "how are you|wie geht es|tu vas bien|qué tal|你好|こんにちは|about yourself|tell me a joke|can we talk|let's play|"
        "best friend's birthday",
        2.0: "what should i|can you help|where do i begin|what can i do|which phone|what do you think|should i|my cat|give me some",
        3.0: "good evening|good night|good morning|who are you|do you like|do you have|do you know|what can you do|are you a|"
        "are you an|can you be|tu peux|kannst du|puedes|nice gift|what's a good way|how do i get|how can i|how do i|"
        "how should i|moved to|wie kann ich|comment puis-je|cómo puedo|what would be a|what would you|would you|i want|i'm |"
        "i am |my plants|what can i do|in my life",
    },
    "simple_qa": {
        3.0: "stand for|is the capital|首都|what does the acronym|symbol for|meaning of the word|how deep|how tall|how old|"
        "how long is|how high|how far|how big|how many|how much|who was|who is|who wrote|who sings|who invented|what year|"
        "which year|in which|when was|when did|where is|wie viele|wie alt|wie lang|en quelle année|combien de|cuántos|"
        "cuántas|quanti |quante |сколько|多少|何年|どこ|几个|what language|what port|what color|what colour|atomic number|"
        "what is the name|name of the|largest |biggest |longest |what is an |what is a |what are the symptoms|where were|"
        "mean?|can penguins",
    },
}

QUESTION_WORDS: Final = (
    "what what's who whose when where which how is are does do did was were define name in wer wann wo wie welche welcher "
    "welches wieviel quelle quel quels qui quand où combien quién qué cuándo dónde cuál cuánto quem qual quando onde quanto "
    "chi cosa dove quanti quante кто что когда где сколько какой"
)
"""With which a question for a fact begins."""
PERSONAL_WORDS: Final = "i i'm my me we our you your us should ich mein meine mir du je mon ma moi yo mi tú io mio eu meu я мой мне"
"""Of somebody who talks about himself or to somebody: advice, not facts."""
