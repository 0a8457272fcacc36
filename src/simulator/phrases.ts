/** Phrases that customers write to a shop, in three languages. `{…}` is replaced. */

export interface Language {
  readonly asks: ReadonlyArray<string>
  readonly answers: ReadonlyArray<string>
  readonly products: ReadonlyArray<string>
  readonly names: ReadonlyArray<string>
  readonly group: string
  readonly price: (random: number) => string
}

const indonesian: Language = {
  asks: [
    "Selamat pagi kak, {product} masih ada?",
    "Harga {product} berapa ya?",
    "Kak, pesanan nomor {order} sudah dikirim belum?",
    "Bisa COD daerah Bekasi?",
    "Saya mau {count} {product}, total berapa kak?",
    "Ukurannya ada yang XL?",
    "Ongkir ke Surabaya berapa kak 🙏",
    "Sudah saya transfer ya, mohon dicek",
    "Barangnya sudah sampai, terima kasih 😊",
    "Maaf kak, warnanya beda dengan foto",
    "Resi {order} belum bergerak dari kemarin"
  ],
  answers: [
    "Masih ada kak, harganya {price}",
    "Siap kak, kami kirim hari ini",
    "Totalnya {price} sudah termasuk ongkir",
    "Terima kasih kak, pesanan {order} kami proses",
    "Mohon ditunggu ya kak 🙏",
    "Stok {product} tinggal {count} kak"
  ],
  products: ["batik tulis", "kopi gayo 250 g", "sambal matah", "tas rotan", "keripik tempe"],
  names: ["Ayu", "Budi Santoso", "Siti Rahma", "Dewi", "Agus P.", "Rina 🌸"],
  group: "Reseller Jabodetabek",
  price: (random) => `Rp${(10 + Math.floor(random * 490)) * 1000}`.replace(/(\d)(\d{3})$/, "$1.$2")
}

const english: Language = {
  asks: [
    "Hi! Do you still have the {product}?",
    "How much is the {product}?",
    "Any news on order {order}?",
    "Can I pick it up tomorrow after 5?",
    "I'd like {count} of the {product} please",
    "Do you ship to Singapore?",
    "Just paid, sending the receipt now",
    "It arrived, thank you so much!",
    "The box was damaged, what now?",
    "Could you change the address on {order}?",
    "ok 👍"
  ],
  answers: [
    "Yes we do, it's {price}",
    "Shipped this morning, tracking {order}",
    "That makes {price} in total, delivery included",
    "Thanks! We'll pack it today.",
    "Sorry about that, we'll send a new one",
    "Only {count} left, shall I hold one?"
  ],
  products: ["ceramic mug", "linen tote bag", "roasted beans 1 kg", "desk lamp", "rain jacket"],
  names: ["Hannah", "Tom Baker", "Mei Lin", "O'Connor", "Priya", "Jack"],
  group: "Weekend market",
  price: (random) => `$${(5 + random * 90).toFixed(2)}`
}

const portuguese: Language = {
  asks: [
    "Bom dia! Ainda tem {product}?",
    "Qual o preço do {product}?",
    "O pedido {order} já saiu?",
    "Vocês entregam em Niterói?",
    "Quero {count} {product}, quanto fica?",
    "Aceita Pix?",
    "Acabei de pagar, segue o comprovante",
    "Chegou tudo certinho, obrigada ❤️",
    "Veio com defeito, consigo trocar?",
    "Não recebi o código de rastreio ainda",
    "Até que horas vocês ficam abertos?"
  ],
  answers: [
    "Temos sim, sai por {price}",
    "Enviado hoje, código {order}",
    "Fica {price} com o frete",
    "Obrigado! Já estamos separando.",
    "Pode mandar o comprovante por aqui mesmo",
    "Restam só {count}, reservo para você?"
  ],
  products: ["pão de queijo congelado", "camiseta básica", "café moído", "rede de algodão", "doce de leite"],
  names: ["João", "Maria Clara", "Tiago", "Conceição", "Zé do Bairro", "Luana"],
  group: "Clientes da Praça",
  price: (random) => `R$ ${(8 + random * 300).toFixed(2).replace(".", ",")}`
}

export const languages: ReadonlyArray<Language> = [indonesian, english, portuguese]

export const emojis: ReadonlyArray<string> = ["👍", "❤️", "🙏", "😂", "😮", ""]
