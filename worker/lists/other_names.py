"""Names of our columns in other systems and languages.

They are only suggested: a wrong guess would send messages to strangers.
"""

import unicodedata

# By language; each has a name for each of these columns. In ASCII, in small letters, as `without_accents` writes them,
# with _ between words. Names that several languages share are in each of them.
NAMES: dict[str, dict[str, str]] = {
    "English": {
        "customer_id": "id client_id user_id customer_no customer_number client_no client_number reference contact_id"
        " member_id",
        "email": "mail e_mail email_address e_mail_address",
        "phone": "mobile telephone tel phone_number mobile_number cell cell_phone mobile_phone contact_number",
        "first_name": "given_name forename firstname",
        "last_name": "surname family_name lastname",
        "company_name": "company organisation organization",
        "date_of_birth": "dob birthday birth_date birthdate",
        "sex": "gender",
        "nationality": "citizenship",
        "address": "street_address",
        "locale": "language lang",
        "timezone": "time_zone",
        "country": "country_code nation",
        "kind": "type customer_type",
        "tags": "tag labels",
        "channel": "contact_channel message_channel preferred_channel",
        "consent": "consent_given",
    },
    "German": {
        "customer_id": "kunde kundennummer kunden_nr kundennr kunden_id kd_nr personennummer mitgliedsnummer",
        "email": "emailadresse e_mail_adresse mailadresse",
        "phone": "telefon telefonnummer handy handynummer mobil mobilnummer mobiltelefon rufnummer",
        "first_name": "vorname",
        "last_name": "nachname familienname zuname",
        "company_name": "firma firmenname unternehmen",
        "date_of_birth": "geburtsdatum geburtstag geb_datum",
        "sex": "geschlecht",
        "nationality": "staatsangehorigkeit nationalitat staatsburgerschaft",
        "address": "anschrift adresse",
        "locale": "sprache",
        "timezone": "zeitzone",
        "country": "land landercode staat",
        "kind": "kundentyp kundenart",
        "tags": "schlagworte schlagworter",
        "channel": "kanal versandweg kontaktkanal",
        "consent": "einwilligung zustimmung",
    },
    "French": {
        "customer_id": "numero_client no_client id_client identifiant code_client",
        "email": "courriel adresse_e_mail adresse_email adresse_mail",
        "phone": "portable mobile_client numero_de_telephone",
        "first_name": "prenom",
        "last_name": "nom nom_de_famille",
        "company_name": "entreprise societe raison_sociale",
        "date_of_birth": "date_de_naissance",
        "sex": "sexe",
        "nationality": "nationalite",
        "address": "adresse",
        "locale": "langue",
        "timezone": "fuseau_horaire",
        "country": "pays code_pays",
        "kind": "type_de_client",
        "tags": "etiquettes",
        "channel": "canal",
        "consent": "consentement",
    },
    "Spanish": {
        "customer_id": "numero_de_cliente id_cliente codigo_cliente no_cliente",
        "email": "correo correo_electronico",
        "phone": "telefono movil telefono_movil celular",
        "first_name": "nombre nombres",
        "last_name": "apellido apellidos",
        "company_name": "empresa razon_social",
        "date_of_birth": "fecha_de_nacimiento",
        "sex": "sexo genero",
        "nationality": "nacionalidad",
        "address": "direccion domicilio",
        "locale": "idioma lengua",
        "timezone": "zona_horaria huso_horario",
        "country": "pais",
        "kind": "tipo_de_cliente",
        "tags": "etiquetas",
        "channel": "canal",
        "consent": "consentimiento",
    },
    "Italian": {
        "customer_id": "codice_cliente numero_cliente",
        "email": "posta_elettronica indirizzo_email",
        "phone": "telefono cellulare numero_di_telefono",
        "first_name": "nome",
        "last_name": "cognome",
        "company_name": "azienda ragione_sociale",
        "date_of_birth": "data_di_nascita",
        "sex": "sesso genere",
        "nationality": "nazionalita cittadinanza",
        "address": "indirizzo",
        "locale": "lingua",
        "timezone": "fuso_orario",
        "country": "paese nazione",
        "kind": "tipo_di_cliente tipo_cliente",
        "tags": "etichette",
        "channel": "canale",
        "consent": "consenso",
    },
    "Portuguese": {
        "customer_id": "numero_do_cliente codigo_do_cliente",
        "email": "correio_eletronico endereco_de_email",
        "phone": "telefone telemovel celular",
        "first_name": "nome primeiro_nome",
        "last_name": "sobrenome apelido ultimo_nome",
        "company_name": "empresa nome_da_empresa",
        "date_of_birth": "data_de_nascimento",
        "sex": "sexo genero",
        "nationality": "nacionalidade",
        "address": "endereco morada",
        "locale": "idioma lingua",
        "timezone": "fuso_horario",
        "country": "pais",
        "kind": "tipo_de_cliente",
        "tags": "etiquetas",
        "channel": "canal",
        "consent": "consentimento",
    },
    "Dutch": {
        "customer_id": "klantnummer klant_id relatienummer",
        "email": "e_mailadres emailadres",
        "phone": "telefoon telefoonnummer mobiel",
        "first_name": "voornaam",
        "last_name": "achternaam familienaam",
        "company_name": "bedrijf bedrijfsnaam",
        "date_of_birth": "geboortedatum",
        "sex": "geslacht",
        "nationality": "nationaliteit",
        "address": "adres",
        "locale": "taal",
        "timezone": "tijdzone",
        "country": "land landcode",
        "kind": "klanttype soort_klant",
        "tags": "labels trefwoorden",
        "channel": "kanaal",
        "consent": "toestemming",
    },
    "Polish": {
        "customer_id": "numer_klienta id_klienta nr_klienta",
        "email": "adres_e_mail poczta",
        "phone": "telefon numer_telefonu telefon_komorkowy komorka",
        "first_name": "imie",
        "last_name": "nazwisko",
        "company_name": "firma nazwa_firmy",
        "date_of_birth": "data_urodzenia",
        "sex": "plec",
        "nationality": "obywatelstwo narodowosc",
        "address": "adres",
        "locale": "jezyk",
        "timezone": "strefa_czasowa",
        "country": "kraj",
        "kind": "typ_klienta rodzaj_klienta",
        "tags": "etykiety tagi",
        "channel": "kanal",
        "consent": "zgoda",
    },
    "Lithuanian": {
        "customer_id": "kliento_numeris kliento_id kliento_nr",
        "email": "el_pastas elektroninis_pastas el_pasto_adresas",
        "phone": "telefonas telefono_numeris tel_nr mobilusis",
        "first_name": "vardas",
        "last_name": "pavarde",
        "company_name": "imone imones_pavadinimas",
        "date_of_birth": "gimimo_data",
        "sex": "lytis",
        "nationality": "pilietybe",
        "address": "adresas",
        "locale": "kalba",
        "timezone": "laiko_juosta",
        "country": "salis valstybe",
        "kind": "kliento_tipas",
        "tags": "zymos zymes",
        "channel": "kanalas siuntimo_kanalas",
        "consent": "sutikimas",
    },
    "Swedish": {
        "customer_id": "kundnummer kund_id",
        "email": "e_post epost e_postadress",
        "phone": "telefon telefonnummer mobil mobilnr mobilnummer",
        "first_name": "fornamn",
        "last_name": "efternamn",
        "company_name": "foretag foretagsnamn",
        "date_of_birth": "fodelsedatum",
        "sex": "kon",
        "nationality": "nationalitet medborgarskap",
        "address": "adress",
        "locale": "sprak",
        "timezone": "tidszon",
        "country": "land landskod",
        "kind": "kundtyp",
        "tags": "taggar etiketter",
        "channel": "kanal",
        "consent": "samtycke",
    },
}
_ENGLISH = frozenset(
    name
    for line in (
        "id client_id user_id customer_no customer_number client_no client_number reference mail e_mail email_address",
        "mobile telephone tel phone_number given_name forename surname family_name company dob birthday birth_date",
        "gender language lang time_zone country_code type tag",
    )
    for name in line.split()
)
OTHER_NAMES = {name: ours for columns in NAMES.values() for ours, names in columns.items() for name in names.split()}
# A typing error in one of these is found too; other languages' words are too many to be near by anything but chance.
ENGLISH = tuple(name for name in OTHER_NAMES if name in _ENGLISH)
# The name of a person or company in one cell: no single column of ours.
_WHOLE = (
    "name full_name fullname customer_name client_name kundenname nom_complet nom_et_prenom nom_prenom nombre_completo"
    " nombre_y_apellidos nome_completo nome_e_cognome naam volledige_naam klantnaam imie_i_nazwisko vardas_pavarde"
    " vardas_ir_pavarde namn kundnamn"
)
WHOLE_NAMES = frozenset(_WHOLE.split())


def without_accents(text: str) -> str:
    """In small letters, without accents: "Prénom" is prenom."""
    plain = unicodedata.normalize("NFKD", text.strip().lower()).translate(_LETTERS)
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


_LETTERS = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "đ": "d", "ı": "i"})
